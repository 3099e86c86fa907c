#include "wire/codec.h"

namespace wireup::wire {
namespace {

constexpr std::string_view kBlanks = " \t";

bool to_integer(std::string_view text, std::int32_t& value) {
  // RFC 13 lets a number have a plus, from_chars does not.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

// Takes the next word off the front of `rest`; empty at the end.
std::string_view next_word(std::string_view& rest) {
  const std::size_t begin = rest.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) {
    rest = {};
    return {};
  }
  rest.remove_prefix(begin);
  const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
  rest.remove_prefix(word.size());
  return word;
}

const AttributeSpec* find_attribute(const MessageSpec& spec, std::string_view name) {
  for (const AttributeSpec& attribute : spec.attributes) {
    if (name == name_of(attribute.id) || (!attribute.alias.empty() && name == attribute.alias))
      return &attribute;
  }
  return nullptr;
}

class LineParser {
 public:
  LineParser(std::string_view line, Direction direction)
      : rest_(line), direction_(direction), strict_(direction == Direction::to_server) {}

  void parse() {
    if (rest_.find('\0') != std::string_view::npos) return fail(ParseStatus::nul_byte);
    const std::string_view word = next_word(rest_);
    if (word.starts_with("mcmd=")) {
      parsed_.form = Form::block;
    } else if (!word.starts_with("cmd=")) {
      return fail(ParseStatus::no_command);
    }
    parsed_.command = word.substr(word.find('=') + 1);
    parsed_.spec = find_v1(parsed_.command, direction_, parsed_.form);
    if (parsed_.spec == nullptr) return fail(ParseStatus::unknown_command);
    parsed_.status = ParseStatus::ok;
    if (parsed_.form == Form::block) return;
    read_attributes();
    check();
  }

  const Parsed& parsed() const { return parsed_; }

 private:
  // The first fault is the one that is told.
  void fail(ParseStatus status, std::optional<AttributeId> attribute = std::nullopt) {
    if (parsed_.status != ParseStatus::ok && parsed_.status != ParseStatus::no_command) return;
    parsed_.status = status;
    parsed_.attribute = attribute;
  }

  void read_attributes() {
    const AttributeSpec* last = nullptr;
    for (std::string_view word = next_word(rest_); !word.empty(); word = next_word(rest_)) {
      const std::size_t equals = word.find('=');
      if (equals == std::string_view::npos) {
        if (strict_) {
          fail(ParseStatus::stray_word);
        } else if (last != nullptr && last->type == ValueType::words) {
          const std::string_view begun = parsed_.attributes.text(last->id);
          parsed_.attributes.set(last->id, {begun.data(), word.data() + word.size()});
        }
        continue;
      }
      last = find_attribute(*parsed_.spec, word.substr(0, equals));
      if (last == nullptr) continue;
      std::string_view value = word.substr(equals + 1);
      if (last->type == ValueType::rest) {
        value = {value.data(), rest_.data() + rest_.size()};
        rest_ = {};
        if (!last->trailer.empty() && value.ends_with(last->trailer))
          value.remove_suffix(last->trailer.size());
      }
      if (!parsed_.attributes.has(last->id)) {
        parsed_.attributes.set(last->id, value);
      } else if (strict_) {
        fail(ParseStatus::duplicate, last->id);
      } else {
        last = nullptr;
      }
    }
  }

  void check() {
    for (const AttributeSpec& attribute : parsed_.spec->attributes) {
      if (!parsed_.attributes.has(attribute.id)) {
        if (attribute.presence == Presence::required) fail(ParseStatus::missing_attribute, attribute.id);
        continue;
      }
      const std::string_view value = parsed_.attributes.text(attribute.id);
      std::int32_t number = 0;
      if (attribute.type == ValueType::integer && !to_integer(value, number)) {
        fail(ParseStatus::bad_number, attribute.id);
      }
      if (strict_ && attribute.limit != 0 && value.size() + 1 > attribute.limit)
        fail(ParseStatus::too_long, attribute.id);
    }
    if (parsed_.status != ParseStatus::ok || parsed_.integer(AttributeId::rc).value_or(0) != 0) return;
    for (const AttributeSpec& attribute : parsed_.spec->attributes) {
      if (attribute.presence == Presence::on_success && !parsed_.attributes.has(attribute.id)) {
        fail(ParseStatus::missing_attribute, attribute.id);
      }
    }
  }

  std::string_view rest_;
  Direction direction_;
  bool strict_;
  Parsed parsed_;
};

}  // namespace

std::optional<std::int32_t> Attributes::integer(AttributeId id) const {
  std::int32_t value = 0;
  if (!has(id) || !to_integer(text(id), value)) return std::nullopt;
  return value;
}

Parsed parse_v1(std::string_view line, Direction direction) {
  LineParser parser(line, direction);
  parser.parse();
  return parser.parsed();
}

std::string describe(const Parsed& parsed) {
  std::string text;
  switch (parsed.status) {
    case ParseStatus::ok:
      return "ok";
    case ParseStatus::nul_byte:
      return "NUL_byte_in_line";
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
    case ParseStatus::too_long:
      text = "too_long_";
      break;
  }
  return text.append(parsed.attribute ? name_of(*parsed.attribute) : std::string_view("attribute"));
}

}  // namespace wireup::wire
