#include "wire/codec.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wireup::wire {
namespace {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool to_integer(std::string_view text, std::int32_t& value) {
  // RFC 13 permits a leading plus, std::from_chars does not.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

// Returns the first blank, or `end`. Compares eight bytes at a time, because this function dominates the
// parsing of long lines.
const char* find_blank(const char* begin, const char* end) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  // Not 0 if one of the bytes is 0. Its lowest set bit is in the lowest byte that is 0.
  const auto zeros = [](std::uint64_t bytes) { return (bytes - kOnes) & ~bytes & (kOnes << 7); };
  for (std::uint64_t letters; end - begin >= static_cast<std::ptrdiff_t>(sizeof letters);
       begin += sizeof letters) {
    std::memcpy(&letters, begin, sizeof letters);
    const std::uint64_t blanks = zeros(letters ^ kOnes * ' ') | zeros(letters ^ kOnes * '\t');
    if (blanks == 0) continue;
    if constexpr (std::endian::native != std::endian::little) break;
    return begin + std::countr_zero(blanks) / 8;
  }
  while (begin != end && !is_blank(*begin)) ++begin;
  return begin;
}

// Removes the next word from the front of `rest`. Returns an empty view at the end.
std::string_view next_word(std::string_view& rest) {
  const char* const last = rest.data() + rest.size();
  const char* begin = rest.data();
  while (begin != last && is_blank(*begin)) ++begin;
  const char* const end = find_blank(begin, last);
  rest = {end, last};
  return {begin, end};
}

bool is_boolean(std::string_view text) { return text == "TRUE" || text == "FALSE"; }

// The checks of attributes that both versions share.
class Checker {
 public:
  Checker(Parsed& parsed, Direction direction, Version version)
      : parsed_(parsed), strict_(direction == Direction::to_server), version_(version) {}

  // Records an error. Only the first one counts.
  void fail(ParseStatus status, std::optional<AttributeId> attribute = std::nullopt) {
    if (parsed_.status != ParseStatus::ok && parsed_.status != ParseStatus::no_command) return;
    parsed_.status = status;
    parsed_.attribute = attribute;
  }

  bool is_strict() const { return strict_; }

  void check() {
    for (const AttributeSpec& attribute : parsed_.spec->attributes) {
      if (!attribute.is_in(version_)) continue;
      if (!parsed_.attributes.has(attribute.id)) {
        if (attribute.presence == Presence::required) fail(ParseStatus::missing_attribute, attribute.id);
        continue;
      }
      const std::string_view value = parsed_.attributes.text(attribute.id);
      std::int32_t number = 0;
      if (attribute.type == ValueType::integer && !to_integer(value, number))
        fail(ParseStatus::bad_number, attribute.id);
      if (attribute.type == ValueType::boolean && !is_boolean(value))
        fail(ParseStatus::bad_boolean, attribute.id);
      if (version_ == Version::v2 && value.find('\n') != std::string_view::npos)
        fail(ParseStatus::newline, attribute.id);
      if (strict_ && attribute.limit != 0 && value.size() + 1 > attribute.limit)
        fail(ParseStatus::too_long, attribute.id);
    }
    // Only replies have an rc, and only a successful one must have its on_success attributes.
    if (strict_ || parsed_.status != ParseStatus::ok || parsed_.integer(AttributeId::rc).value_or(0) != 0 ||
        parsed_.text(AttributeId::found) == "FALSE") {
      return;
    }
    for (const AttributeSpec& attribute : parsed_.spec->attributes) {
      if (attribute.presence == Presence::on_success && attribute.is_in(version_) &&
          !parsed_.attributes.has(attribute.id)) {
        fail(ParseStatus::missing_attribute, attribute.id);
      }
    }
  }

 private:
  Parsed& parsed_;
  bool strict_;
  Version version_;
};

class LineParser {
 public:
  // The result goes into `parsed`, because a copy of it for each request would be expensive.
  LineParser(Parsed& parsed, std::string_view line, Direction direction)
      : rest_(line), direction_(direction), parsed_(parsed), checker_(parsed, direction, Version::v1) {}

  void parse() {
    if (rest_.find('\0') != std::string_view::npos) return checker_.fail(ParseStatus::nul_byte);
    const std::string_view word = next_word(rest_);
    if (word.starts_with("mcmd=")) {
      parsed_.form = Form::block;
    } else if (!word.starts_with("cmd=")) {
      return checker_.fail(ParseStatus::no_command);
    }
    parsed_.command = word.substr(word.find('=') + 1);
    parsed_.spec = find_v1(parsed_.command, direction_, parsed_.form);
    if (parsed_.spec == nullptr) return checker_.fail(ParseStatus::unknown_command);
    parsed_.status = ParseStatus::ok;
    if (parsed_.form == Form::block) return;
    read_attributes();
    checker_.check();
  }

 private:
  void read_attributes() {
    const AttributeSpec* last = nullptr;
    for (std::string_view word = next_word(rest_); !word.empty(); word = next_word(rest_)) {
      const std::size_t equals = word.find('=');
      if (equals == std::string_view::npos) {
        if (checker_.is_strict()) {
          checker_.fail(ParseStatus::stray_word);
        } else if (last != nullptr && last->type == ValueType::words) {
          const std::string_view begin = parsed_.attributes.text(last->id);
          parsed_.attributes.set(last->id, {begin.data(), word.data() + word.size()});
        }
        continue;
      }
      last = find_attribute(*parsed_.spec, word.substr(0, equals), Version::v1);
      if (last == nullptr) continue;
      std::string_view value = word.substr(equals + 1);
      if (last->type == ValueType::rest_of_line) {
        value = {value.data(), rest_.data() + rest_.size()};
        rest_ = {};
        if (!last->trailer.empty() && value.ends_with(last->trailer))
          value.remove_suffix(last->trailer.size());
      }
      if (!parsed_.attributes.has(last->id)) {
        parsed_.attributes.set(last->id, value);
      } else if (checker_.is_strict()) {
        checker_.fail(ParseStatus::duplicate, last->id);
      } else {
        last = nullptr;
      }
    }
  }

  std::string_view rest_;
  Direction direction_;
  Parsed& parsed_;
  Checker checker_;
};

}  // namespace

std::optional<std::int32_t> Attributes::integer(AttributeId id) const {
  std::int32_t value = 0;
  if (!has(id) || !to_integer(text(id), value)) return std::nullopt;
  return value;
}

bool FieldReader::next(Field& field) {
  if (rest_.empty()) return false;
  // A semicolon ends the field. In a value, two semicolons stand for one that belongs to the value.
  std::size_t equals = std::string_view::npos;
  std::size_t end = 0;
  bool doubled = false;
  for (; end < rest_.size(); ++end) {
    if (rest_[end] == '=' && equals == std::string_view::npos) equals = end;
    if (rest_[end] != ';') continue;
    if (equals == std::string_view::npos || end + 1 == rest_.size() || rest_[end + 1] != ';') break;
    doubled = true;
    ++end;
  }
  const std::string_view text = rest_.substr(0, end);
  field.has_value = equals != std::string_view::npos;
  field.name = text.substr(0, equals);
  field.raw = field.has_value ? text.substr(equals + 1) : std::string_view();
  field.value = doubled ? unescaped(field.raw) : field.raw;
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  return true;
}

std::string_view FieldReader::unescaped(std::string_view raw) {
  // The memory is reserved once, so that views of earlier values stay valid.
  if (scratch_.empty()) scratch_.reserve(raw.size() + rest_.size());
  const std::size_t begin = scratch_.size();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    scratch_.push_back(raw[i]);
    if (raw[i] == ';') ++i;
  }
  return std::string_view(scratch_).substr(begin);
}

Parsed parse_v1(std::string_view line, Direction direction) {
  Parsed parsed;
  LineParser(parsed, line, direction).parse();
  return parsed;
}

Parsed parse_v2(std::string_view frame, Direction direction, std::string& scratch) {
  Parsed parsed;
  Checker checker(parsed, direction, Version::v2);
  FieldReader reader(frame, scratch);
  FieldReader::Field field;
  if (frame.find('\0') != std::string_view::npos) {
    checker.fail(ParseStatus::nul_byte);
    return parsed;
  }
  if (!reader.next(field) || field.name != "cmd" || !field.has_value) return parsed;
  parsed.command = field.value;
  parsed.spec = find_v2(parsed.command, direction);
  if (parsed.spec == nullptr) {
    parsed.status = ParseStatus::unknown_command;
  } else {
    parsed.status = ParseStatus::ok;
    parsed.form = parsed.spec->form;
  }
  while (reader.next(field)) {
    if (field.has_value && field.name == name_of(AttributeId::thrid)) {
      const bool sayable = field.raw.size() < kThrid.limit && field.raw.find('\n') == std::string_view::npos;
      if (!parsed.thrid.empty()) {
        if (checker.is_strict()) checker.fail(ParseStatus::duplicate, AttributeId::thrid);
      } else if (sayable) {
        parsed.thrid = field.raw;
      } else {
        checker.fail(ParseStatus::too_long, AttributeId::thrid);
      }
      continue;
    }
    if (parsed.spec == nullptr || parsed.form == Form::block) continue;
    if (!field.has_value) {
      if (checker.is_strict()) checker.fail(ParseStatus::stray_word);
      continue;
    }
    const AttributeSpec* attribute = find_attribute(*parsed.spec, field.name, Version::v2);
    if (attribute == nullptr) continue;
    if (!parsed.attributes.has(attribute->id)) {
      parsed.attributes.set(attribute->id, field.value);
    } else if (checker.is_strict()) {
      checker.fail(ParseStatus::duplicate, attribute->id);
    }
  }
  if (parsed.spec != nullptr && parsed.form == Form::line) checker.check();
  return parsed;
}

MessageWriter::MessageWriter(std::string& out, std::string_view name, Version version, std::string_view thrid)
    : out_(out), begin_(out.size()), name_(name), version_(version), thrid_(thrid) {
  if (version_ == Version::v1) {
    out_.append("cmd=").append(name);
    return;
  }
  out_.append(kFrameHeader, ' ').append("cmd=").append(name).append(1, ';');
  if (!thrid.empty()) out_.append(name_of(AttributeId::thrid)).append(1, '=').append(thrid).append(1, ';');
}

bool MessageWriter::end() {
  if (unencodable_) {
    refuse();
    return false;
  }
  if (version_ == Version::v1) {
    out_.push_back('\n');
    return true;
  }
  // The length is right-aligned in its six bytes, as MPICH writes it.
  std::array<char, kFrameHeader> digits;
  const char* end =
      std::to_chars(digits.data(), digits.data() + digits.size(), out_.size() - begin_ - kFrameHeader).ptr;
  const auto count = static_cast<std::size_t>(end - digits.data());
  std::copy_n(digits.data(), count, out_.data() + begin_ + kFrameHeader - count);
  return true;
}

void MessageWriter::refuse() {
  out_.resize(begin_);
  if (spec_ != nullptr && spec_->direction == Direction::to_server) return;
  constexpr std::int32_t kFail = -1;
  MessageWriter reply(out_, name_, version_, thrid_);
  reply.add(AttributeId::rc, kFail)
      .add(AttributeId::msg, std::string("reserved_byte_in_").append(name_of(*unencodable_)))
      .end();
}

// A message that is not in the table has the attributes of a reply without values.
const AttributeSpec* MessageWriter::attribute(AttributeId id) const {
  const MessageSpec& spec = spec_ == nullptr ? spec_of(MessageId::unknown_result) : *spec_;
  for (const AttributeSpec& attribute : spec.attributes) {
    if (attribute.id == id) return &attribute;
  }
  return nullptr;
}

MessageWriter& MessageWriter::append(AttributeId id, std::string_view value) {
  if (version_ == Version::v1) {
    out_.push_back(' ');
    out_.append(name_of(id)).push_back('=');
    out_.append(value);
    return *this;
  }
  const AttributeSpec* known = attribute(id);
  out_.append(known == nullptr ? name_of(id) : known->name(Version::v2)).push_back('=');
  out_.append(value).push_back(';');
  return *this;
}

std::string describe(const Parsed& parsed) {
  std::string text;
  switch (parsed.status) {
    case ParseStatus::ok:
      return "ok";
    case ParseStatus::nul_byte:
      return "NUL_byte_in_line";
    case ParseStatus::newline:
      text = "newline_in_";
      break;
    case ParseStatus::no_command:
      return "no_command_in_line";
    case ParseStatus::unknown_command:
      return "unknown_command";
    case ParseStatus::stray_word:
      return "word_without_value";
    case ParseStatus::duplicate:
      text = "duplicate_attribute_";
      break;
    case ParseStatus::missing_attribute:
      text = "missing_attribute_";
      break;
    case ParseStatus::bad_number:
      text = "bad_number_in_";
      break;
    case ParseStatus::bad_boolean:
      text = "neither_TRUE_nor_FALSE_in_";
      break;
    case ParseStatus::too_long:
      text = "too_long_";
      break;
  }
  return text.append(parsed.attribute ? name_of(*parsed.attribute) : std::string_view("attribute"));
}

}  // namespace wireup::wire
