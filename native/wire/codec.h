// PMI-1 lines to messages and back, generic over the message table.
//
// The command comes first on the line, as every definition writes it; its attributes follow in any order,
// with any number of blanks between them, and unknown ones are passed over. Names match exactly. A value of
// type `rest` ends the search for attributes, so nothing inside a value is ever taken for one.
//
// What a client asks must be exact: a word without '=', an attribute said twice, or a number that is none is
// an error, and limits hold. What a server answers is read with more tolerance: the first of two counts, a
// stray word extends the attribute before it where that may hold several, and limits are the server's own.
#pragma once

#include <array>
#include <bitset>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/messages.h"

namespace wireup::wire {

// Attribute values by id, as views of the line that was parsed.
class Attributes {
 public:
  bool has(AttributeId id) const { return present_[index(id)]; }
  std::string_view text(AttributeId id) const { return has(id) ? values_[index(id)] : std::string_view(); }
  // Empty when absent (parse() has refused what is no number).
  std::optional<std::int32_t> integer(AttributeId id) const;
  void set(AttributeId id, std::string_view value) {
    present_.set(index(id));
    values_[index(id)] = value;
  }

 private:
  static std::size_t index(AttributeId id) { return static_cast<std::size_t>(id); }
  std::bitset<kAttributeCount> present_;
  std::array<std::string_view, kAttributeCount> values_;
};

enum class ParseStatus : std::uint8_t {
  ok,
  nul_byte,
  no_command,  // the line does not begin with cmd= or mcmd=
  unknown_command,
  stray_word,  // a word without '='
  duplicate,   // attribute said twice
  missing_attribute,
  bad_number,
  too_long,  // over the attribute's limit
};

struct Parsed {
  ParseStatus status = ParseStatus::no_command;
  Form form = Form::line;                // block: mcmd=
  std::string_view command;              // as it was said; empty when there is none
  const MessageSpec* spec = nullptr;     // null when there is no such command
  std::optional<AttributeId> attribute;  // which one is wrong
  Attributes attributes;                 // complete when ok; otherwise what could be read

  std::string_view text(AttributeId id) const { return attributes.text(id); }
  std::optional<std::int32_t> integer(AttributeId id) const { return attributes.integer(id); }
};

// A line without its newline. For Form::block only the opening line: its attributes come on lines of their
// own.
Parsed parse_v1(std::string_view line, Direction direction);

// What is wrong, as one word for msg= and for people: "missing_attribute_key".
std::string describe(const Parsed& parsed);

// Writes one line: the command, then attributes in the order they are added, then the newline.
// Values are written as they are; the caller has checked what came from outside.
class LineWriter {
 public:
  LineWriter(std::string& out, MessageId id) : out_(out) { out_.append("cmd=").append(spec_of(id).v1); }
  LineWriter& add(AttributeId id, std::string_view value) {
    out_.append(1, ' ').append(name_of(id)).append(1, '=').append(value);
    return *this;
  }
  LineWriter& add(AttributeId id, std::integral auto value) {
    std::array<char, 24> digits;
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return add(id, std::string_view(digits.data(), end));
  }
  void end() { out_.push_back('\n'); }

 private:
  std::string& out_;
};

}  // namespace wireup::wire
