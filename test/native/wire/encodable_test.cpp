// No value can end its message early or begin another one, in any attribute of any message.
#include <doctest/doctest.h>

#include <charconv>
#include <string>
#include <vector>

#include "wire/codec.h"

namespace wireup::wire {
namespace {

bool has(Version version, const MessageSpec& spec) {
  return !spec.wire_name(version).empty() && spec.form == Form::line;
}

std::string write(const MessageSpec& spec, AttributeId id, std::string_view value, Version version,
                  bool& written) {
  std::string out;
  written = MessageWriter(out, spec.id, version).add(id, value).end();
  return out;
}

// Splits `bytes` into messages as a peer does.
std::vector<std::string> messages_in(std::string bytes, Version version) {
  std::vector<std::string> messages;
  while (!bytes.empty()) {
    std::size_t size = bytes.find('\n') + 1;
    if (version == Version::v2) {
      const std::size_t digits = bytes.find_first_not_of(' ');
      std::from_chars(bytes.data() + digits, bytes.data() + kFrameHeader, size);
      size += kFrameHeader;
    }
    REQUIRE(size > 0);
    REQUIRE(size <= bytes.size());
    messages.push_back(bytes.substr(0, size));
    bytes.erase(0, size);
  }
  return messages;
}

// Parses one complete message.
Parsed parse(std::string_view message, Direction direction, Version version, std::string& scratch) {
  if (version == Version::v2) return parse_v2(message.substr(kFrameHeader), direction, scratch);
  return parse_v1(message.substr(0, message.size() - 1), direction);
}

// Calls `check` for each attribute of each message in each version.
template <typename Check>
void for_all(Check check) {
  for (const Version version : {Version::v1, Version::v2}) {
    for (const MessageSpec& spec : kMessages) {
      if (!has(version, spec)) continue;
      for (const AttributeSpec& attribute : spec.attributes) {
        if (!attribute.is_in(version)) continue;
        CAPTURE(spec.name);
        CAPTURE(name_of(attribute.id));
        CAPTURE(static_cast<int>(version));
        check(spec, attribute, version);
      }
    }
  }
}

}  // namespace

TEST_CASE("encodable: a value with a reserved byte is not written") {
  int refused = 0;
  for_all([&](const MessageSpec& spec, const AttributeSpec& attribute, Version version) {
    for (const char byte : reserved_bytes(attribute.type, version)) {
      CAPTURE(static_cast<int>(byte));
      const std::string value = std::string("x") + byte + "cmd=set size=99";
      bool written = true;
      const std::string out = write(spec, attribute.id, value, version, written);
      CHECK_FALSE(written);
      CHECK(out.find("size=99") == std::string::npos);
      const std::vector<std::string> messages = messages_in(out, version);
      if (spec.direction == Direction::to_server) {
        CHECK(messages.empty());
        continue;
      }
      REQUIRE(messages.size() == 1);
      std::string scratch;
      const Parsed parsed = parse(messages[0], spec.direction, version, scratch);
      CHECK(parsed.command == spec.wire_name(version));
      CHECK(messages[0].find("rc=-1") != std::string::npos);
      CHECK(messages[0].find("reserved_byte_in_" + std::string(name_of(attribute.id))) != std::string::npos);
      ++refused;
    }
  });
  CHECK(refused > 100);
}

TEST_CASE("encodable: all other bytes are read as they were written") {
  for_all([&](const MessageSpec& spec, const AttributeSpec& attribute, Version version) {
    if (attribute.type == ValueType::integer || attribute.type == ValueType::boolean) return;
    std::string value;
    for (int byte = 1; byte < 256; ++byte) {
      if (reserved_bytes(attribute.type, version).find(static_cast<char>(byte)) == std::string_view::npos)
        value += static_cast<char>(byte);
    }
    bool written = false;
    const std::string out = write(spec, attribute.id, value, version, written);
    CHECK(written);
    REQUIRE(messages_in(out, version).size() == 1);
    std::string scratch;
    CHECK(parse(out, spec.direction, version, scratch).text(attribute.id) == value);
  });
}

TEST_CASE("encodable: a reply that is not in the table, and one with a thrid") {
  std::string out;
  CHECK_FALSE(MessageWriter(out, "ring_result", Version::v1)
                  .add(AttributeId::rc, 0)
                  .add(AttributeId::msg, "a\nb")
                  .end());
  CHECK_FALSE(
      MessageWriter(out, MessageId::get_result, Version::v2, "7").add(AttributeId::value, "a;b").end());
  CHECK(out ==
        "cmd=ring_result rc=-1 msg=reserved_byte_in_msg\n    "
        "65cmd=kvs-get-response;thrid=7;rc=-1;errmsg=reserved_byte_in_value;");
}

}  // namespace wireup::wire
