// PMI-1 lines and PMI-2 frames to messages and back, generic over the message table.
//
// The command comes first on the line, as every definition writes it; its attributes follow in any order,
// with any number of blanks between them, and unknown ones are passed over. Names match exactly. A value of
// type `rest_of_line` ends the search for attributes, so nothing inside a value is ever taken for one.
//
// What a client asks must be exact: a word without '=', an attribute said twice, or a number that is none is
// an error, and limits hold. What a server answers is read with more tolerance: the first of two counts, a
// stray word extends the attribute before it where that may hold several, and limits are the server's own.
//
// A frame of PMI-2 is "cmd=name;attribute=value;..." without its length. A value may hold blanks and '='; two
// semicolons in it are one that is part of it, as Slurm's library writes them. MPICH's cannot read that, so
// nothing written here holds a semicolon, nor, since PMI-1 ranks may come to read it, is a newline taken in
// or written.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/messages.h"

namespace wireup::wire {

// Attribute values by id, as views of what was parsed: of one message, so as many as one has.
class Attributes {
 public:
  bool has(AttributeId id) const { return (present_ & bit(id)) != 0; }
  std::string_view text(AttributeId id) const { return has(id) ? values_[place(id)] : std::string_view(); }
  // Empty when absent (parse() has refused what is no number).
  std::optional<std::int32_t> integer(AttributeId id) const;
  void set(AttributeId id, std::string_view value) {
    if (!has(id)) {
      present_ |= bit(id);
      ids_[count_++] = id;
    }
    values_[place(id)] = value;
  }

 private:
  static constexpr std::uint64_t bit(AttributeId id) { return std::uint64_t{1} << static_cast<unsigned>(id); }
  static_assert(kAttributeCount <= 64);

  // Of one that is present.
  std::size_t place(AttributeId id) const {
    std::size_t at = 0;
    while (ids_[at] != id) ++at;
    return at;
  }

  std::uint64_t present_ = 0;
  std::size_t count_ = 0;
  std::array<AttributeId, kMostAttributes> ids_{};
  std::array<std::string_view, kMostAttributes> values_;
};

enum class ParseStatus : std::uint8_t {
  ok,
  nul_byte,
  newline,     // in a value of PMI-2
  no_command,  // it does not begin with cmd= or mcmd=
  unknown_command,
  stray_word,  // a word without '='
  duplicate,   // attribute said twice
  missing_attribute,
  bad_number,
  bad_boolean,
  too_long,  // over the attribute's limit
};

struct Parsed {
  ParseStatus status = ParseStatus::no_command;
  Form form = Form::line;                // block: mcmd=, or its like in PMI-2
  std::string_view command;              // as it was said; empty when there is none
  const MessageSpec* spec = nullptr;     // null when there is no such command
  std::optional<AttributeId> attribute;  // which one is wrong
  Attributes attributes;                 // complete when ok; otherwise what could be read
  std::string_view thrid;                // of PMI-2, as it was said; empty where it cannot be said back

  std::string_view text(AttributeId id) const { return attributes.text(id); }
  std::optional<std::int32_t> integer(AttributeId id) const { return attributes.integer(id); }
};

// A line without its newline. For Form::block only the opening line: its attributes come on lines of their
// own.
Parsed parse_v1(std::string_view line, Direction direction);

// The fields of a PMI-2 frame, one after the other.
class FieldReader {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
    std::string_view raw;    // the value as it was said, its semicolons doubled
    bool has_value = false;  // false: a word without '='
  };

  // `scratch` is cleared, and holds the values that were not said as they are. It grows to the frame's size
  // at most.
  FieldReader(std::string_view frame, std::string& scratch) : rest_(frame), scratch_(scratch) {
    scratch_.clear();
  }

  // False at the end. The views are valid as long as the frame and, untouched, the scratch are.
  bool next(Field& field);

 private:
  std::string_view unescaped(std::string_view raw);

  std::string_view rest_;
  std::string& scratch_;
};

// Of Form::block only the command and the thrid: its attributes are read field by field.
Parsed parse_v2(std::string_view frame, Direction direction, std::string& scratch);

// The bytes that would end a value of this type on the wire, or begin something else: none of what is written
// has them.
constexpr std::string_view unsayable_in(ValueType type, Version version) {
  constexpr std::string_view kLine("\0\n", 2);
  constexpr std::string_view kWord("\0\n \t=", 5);
  constexpr std::string_view kFrame("\0\n;", 3);
  if (version == Version::v2) return kFrame;
  return type == ValueType::rest_of_line ? kLine : kWord;
}

inline bool is_sayable(ValueType type, Version version, std::string_view value) {
  // Byte by byte of the few: the library looks for one far faster than for one of several.
  return std::ranges::none_of(unsayable_in(type, version),
                              [&](char c) { return value.find(c) != std::string_view::npos; });
}

// What is wrong, as one word for msg= and for people: "missing_attribute_key".
std::string describe(const Parsed& parsed);

// Writes one message, in either version: the command, then attributes in the order they are added, then its
// end.
//
// A message with a value that its attribute cannot hold (see unsayable_in()) is not written: it would
// be read as another one, or as two. A reply then says so, rc=-1 msg=unsayable_NAME; of a request nothing is
// left.
class MessageWriter {
 public:
  MessageWriter(std::string& out, MessageId id, Version version = Version::v1, std::string_view thrid = {})
      : MessageWriter(out, spec_of(id).wire_name(version), version, thrid) {
    spec_ = &spec_of(id);
  }
  // A message that is not in the table: its attributes have their names of PMI-1, but for rc's companion.
  MessageWriter(std::string& out, std::string_view name, Version version, std::string_view thrid = {});

  MessageWriter& add(AttributeId id, std::string_view value) {
    const AttributeSpec* known = attribute(id);
    if (!is_sayable(known == nullptr ? ValueType::word : known->type, version_, value)) unsayable_ = id;
    return append(id, value);
  }
  MessageWriter& add(AttributeId id, std::integral auto value) {
    std::array<char, 24> digits;
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return append(id, std::string_view(digits.data(), end));
  }
  // How the answers to put and get begin that have nothing to complain of: as RFC 13 shows them, in one
  // piece.
  MessageWriter& add_success() {
    out_.append(version_ == Version::v1 ? " rc=0 msg=success" : "rc=0;");
    return *this;
  }
  // False: it is not what was to be written.
  bool end();

 private:
  const AttributeSpec* attribute(AttributeId id) const;
  MessageWriter& append(AttributeId id, std::string_view value);
  void refuse();

  std::string& out_;
  std::size_t begin_;
  std::string_view name_;
  Version version_;
  std::string_view thrid_;
  const MessageSpec* spec_ = nullptr;
  std::optional<AttributeId> unsayable_;
};

}  // namespace wireup::wire
