// Converts PMI-1 lines and PMI-2 frames to messages and back. The code is generic over the message table
// (messages.h).
//
// PMI-1: a line begins with its command. Attributes follow in any order, with any number of blanks between
// them. The parser matches names exactly and skips unknown attributes. A value of type `rest_of_line` extends
// to the end of the line, so the parser never finds an attribute inside a value.
//
// Requests are parsed strictly: a word without '=', a duplicate attribute, an invalid number or a value over
// its limit is an error. Replies are parsed with tolerance: of duplicates the first one counts, a word
// without '=' extends the attribute before it if that is of type `words`, and limits are not checked.
//
// PMI-2: a frame is "cmd=name;attribute=value;..." without its length. A value may contain blanks and '='. A
// semicolon in a value is doubled, as Slurm's library writes it. MPICH cannot read doubled semicolons, so the
// writer refuses values with a semicolon. Newlines are refused in both directions, because a PMI-1 rank may
// read the value later.
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

// The attributes of one message. Values are views of the parsed text.
class Attributes {
 public:
  bool has(AttributeId id) const { return (present_ & bit(id)) != 0; }
  std::string_view text(AttributeId id) const { return has(id) ? values_[index_of(id)] : std::string_view(); }
  // Empty if the attribute is absent. After a successful parse the text of a present one is a number.
  std::optional<std::int32_t> integer(AttributeId id) const;
  void set(AttributeId id, std::string_view value) {
    if (!has(id)) {
      present_ |= bit(id);
      ids_[count_++] = id;
    }
    values_[index_of(id)] = value;
  }

 private:
  static constexpr std::uint64_t bit(AttributeId id) { return std::uint64_t{1} << static_cast<unsigned>(id); }
  static_assert(kAttributeCount <= 64);

  // The index of an attribute that is present.
  std::size_t index_of(AttributeId id) const {
    std::size_t at = 0;
    while (ids_[at] != id) ++at;
    return at;
  }

  std::uint64_t present_ = 0;
  std::size_t count_ = 0;
  std::array<AttributeId, kMaxAttributes> ids_{};
  std::array<std::string_view, kMaxAttributes> values_;
};

enum class ParseStatus : std::uint8_t {
  ok,
  nul_byte,
  newline,     // in a value of PMI-2
  no_command,  // the text does not begin with cmd= or mcmd=
  unknown_command,
  stray_word,  // a word without '='
  duplicate,   // an attribute occurs twice
  missing_attribute,
  bad_number,
  bad_boolean,
  too_long,  // the value exceeds the attribute's limit
};

struct Parsed {
  ParseStatus status = ParseStatus::no_command;
  Form form = Form::line;                // block: PMI-1's mcmd=, or the same command in PMI-2
  std::string_view command;              // the name as received; empty if there is none
  const MessageSpec* spec = nullptr;     // null: the command is unknown
  std::optional<AttributeId> attribute;  // the attribute with the error
  Attributes attributes;                 // after an error: those that could be parsed
  std::string_view thrid;                // PMI-2, as received; empty if absent or invalid

  std::string_view text(AttributeId id) const { return attributes.text(id); }
  std::optional<std::int32_t> integer(AttributeId id) const { return attributes.integer(id); }
};

// Parses a line without its newline. For Form::block this is the opening line; the attributes follow on lines
// of their own.
Parsed parse_v1(std::string_view line, Direction direction);

// Reads the fields of a PMI-2 frame in order.
class FieldReader {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
    std::string_view raw;    // the value with its semicolons still doubled
    bool has_value = false;  // false: the field is a word without '='
  };

  // The constructor clears `scratch`. Values with doubled semicolons are decoded into it. It never becomes
  // longer than the frame.
  FieldReader(std::string_view frame, std::string& scratch) : rest_(frame), scratch_(scratch) {
    scratch_.clear();
  }

  // Returns false at the end. The views are valid while the frame and `scratch` are unchanged.
  bool next(Field& field);

 private:
  std::string_view unescaped(std::string_view raw);

  std::string_view rest_;
  std::string& scratch_;
};

// Parses a frame. Of Form::block it parses only the command and the thrid; use FieldReader for the rest.
// `scratch` is used as in FieldReader.
Parsed parse_v2(std::string_view frame, Direction direction, std::string& scratch);

// The bytes that a value of this type cannot contain, because a parser would end the value there or start
// another attribute.
constexpr std::string_view reserved_bytes(ValueType type, Version version) {
  constexpr std::string_view kLine("\0\n", 2);
  constexpr std::string_view kWord("\0\n \t=", 5);
  constexpr std::string_view kFrame("\0\n;", 3);
  if (version == Version::v2) return kFrame;
  return type == ValueType::rest_of_line ? kLine : kWord;
}

inline bool is_encodable(ValueType type, Version version, std::string_view value) {
  // One find() for each reserved byte: std::string_view searches for one byte much faster than for a set.
  return std::ranges::none_of(reserved_bytes(type, version),
                              [&](char c) { return value.find(c) != std::string_view::npos; });
}

// The parse error as one word, for msg= and for people: "missing_attribute_key".
std::string describe(const Parsed& parsed);

// Writes one message of either version: the constructor writes the command, add() the attributes in the order
// of the calls, end() the end.
//
// If a value contains a reserved byte (reserved_bytes()), the message is not written, because the peer would
// read it as another message or as two. end() then writes an error reply instead (rc=-1
// msg=reserved_byte_in_NAME). If the message is a request, end() writes nothing.
class MessageWriter {
 public:
  MessageWriter(std::string& out, MessageId id, Version version = Version::v1, std::string_view thrid = {})
      : MessageWriter(out, spec_of(id).wire_name(version), version, thrid) {
    spec_ = &spec_of(id);
  }
  // A message that is not in the table. Its attributes have their names of PMI-1, except that msg is errmsg
  // in PMI-2.
  MessageWriter(std::string& out, std::string_view name, Version version, std::string_view thrid = {});

  MessageWriter& add(AttributeId id, std::string_view value) {
    const AttributeSpec* known = attribute(id);
    if (!is_encodable(known == nullptr ? ValueType::word : known->type, version_, value)) unencodable_ = id;
    return append(id, value);
  }
  MessageWriter& add(AttributeId id, std::integral auto value) {
    std::array<char, 24> digits;
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return append(id, std::string_view(digits.data(), end));
  }
  // Appends the attributes with which a successful reply to put or get begins. RFC 13 shows them in this
  // form.
  MessageWriter& add_success() {
    out_.append(version_ == Version::v1 ? " rc=0 msg=success" : "rc=0;");
    return *this;
  }
  // Returns false if the message was not written, see above.
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
  std::optional<AttributeId> unencodable_;
};

}  // namespace wireup::wire
