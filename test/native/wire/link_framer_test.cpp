#include "wire/link_framer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace wireup::wire {
namespace {

constexpr std::size_t kNoise = 100;
constexpr std::size_t kPacket = 1000;

struct LinkParts {
  std::string noise;
  std::string greeting;  // "PROTOCOL RELEASE"; empty: none has come
  std::vector<std::string> packets;
  bool invalid = false;
  std::size_t pending = 0;
  bool operator==(const LinkParts&) const = default;
};

LinkParts parse(std::string_view bytes, std::size_t chunk) {
  LinkFramer framer(kNoise, kPacket);
  LinkParts parts;
  for (; !bytes.empty() && !parts.invalid; bytes.remove_prefix(std::min(chunk, bytes.size()))) {
    std::string_view input = bytes.substr(0, chunk);
    for (bool more = false; !more && !parts.invalid;) {
      std::string_view packet;
      switch (framer.next(input, packet)) {
        case LinkFramer::Result::greeting:
          parts.greeting = std::to_string(framer.greeting()->protocol) + " " + framer.greeting()->release;
          break;
        case LinkFramer::Result::packet:
          parts.packets.emplace_back(packet);
          break;
        case LinkFramer::Result::more:
          more = true;
          CHECK(input.empty());
          break;
        case LinkFramer::Result::invalid:
          parts.invalid = true;
          CHECK(framer.next(input, packet) == LinkFramer::Result::invalid);
          break;
      }
    }
  }
  parts.noise = framer.noise();
  parts.pending = framer.pending();
  return parts;
}

const std::string kGreeting = "wireup-agent 5 0.1.0\n";

}  // namespace

TEST_CASE("link framer: the parts of a stream do not depend on how reads split the bytes") {
  const std::string long_packet(kPacket, 'x');
  const struct {
    const char* name;
    std::string bytes;
    LinkParts parts;
  } cases[] = {
      {"only a greeting", kGreeting, {"", "5 0.1.0", {}, false, 0}},
      {"the first line is empty", "\n" + kGreeting, {"\n", "5 0.1.0", {}, false, 0}},
      {"a text without a newline before the greeting",
       "Welcome!\nEnjoy\n" + kGreeting,
       {"Welcome!\nEnjoy\n", "5 0.1.0", {}, false, 0}},
      {"a text that resembles a greeting",
       "wireup-agent: hm\nwireup-agent x\nwireup-agent 5x\nwireup-agent 5 \x01\n my-wireup-agent 5\n" +
           kGreeting,
       {"wireup-agent: hm\nwireup-agent x\nwireup-agent 5x\nwireup-agent 5 \x01\n my-wireup-agent 5\n",
        "5 0.1.0",
        {},
        false,
        0}},
      {"a greeting with more words, and noise at its limit",
       std::string(kNoise - 1, 'n') + "\nwireup-agent 4294967295 1.0.0-rc.1 new words\n",
       {std::string(kNoise - 1, 'n') + "\n", "4294967295 1.0.0-rc.1", {}, false, 0}},
      {"a greeting without a release", "wireup-agent 7\n", {"", "7 ", {}, false, 0}},
      {"a protocol that is no 32-bit number",
       "wireup-agent 4294967296\n",
       {"wireup-agent 4294967296\n", "", {}, false, 0}},
      {"too much noise",
       std::string(kNoise, 'n') + "\n" + kGreeting,
       {std::string(kNoise, 'n') + "\n", "", {}, true, 0}},
      {"a line that never ends", std::string(1000, 'n'), {std::string(kNoise + 256, 'n'), "", {}, true, 0}},
      {"packets and heartbeats",
       kGreeting + encode_frame("a") + std::string(kHeartbeat) + std::string(kHeartbeat) +
           encode_frame(long_packet) + encode_frame("wireup-agent 5\n"),
       {"", "5 0.1.0", {"a", long_packet, "wireup-agent 5\n"}, false, 0}},
      {"an incomplete length", kGreeting + encode_frame("a") + "\x05", {"", "5 0.1.0", {"a"}, false, 1}},
      {"an incomplete packet", kGreeting + encode_frame("abc").substr(0, 6), {"", "5 0.1.0", {}, false, 2}},
      {"a packet over the limit",
       kGreeting + encode_frame("a") + encode_frame(std::string(kPacket + 1, 'x')),
       {"", "5 0.1.0", {"a"}, true, 0}},
      {"the longest length", kGreeting + "\xff\xff\xff\xff", {"", "5 0.1.0", {}, true, 0}},
  };
  for (const auto& row : cases) {
    CAPTURE(row.name);
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{2}, std::size_t{7}, row.bytes.size()}) {
      CAPTURE(chunk);
      CHECK(bool(parse(row.bytes, chunk) == row.parts));
    }
  }
}

TEST_CASE("link framer: what it encodes, it parses") {
  CHECK(encode_greeting({5, "0.1.0"}) == kGreeting);
  CHECK(encode_frame("abc") == std::string("\x03\0\0\0abc", 7));
  CHECK(encode_frame(std::string(0x010203, 'x')).starts_with(std::string("\x03\x02\x01\0x", 5)));
}

TEST_CASE("link framer: a packet that is only announced takes no memory") {
  LinkFramer framer(0, 0xffffffff);
  std::string bytes = kGreeting + "\xff\xff\xff\x7f" + "x";
  std::string_view input = bytes;
  std::string_view packet;
  REQUIRE(framer.next(input, packet) == LinkFramer::Result::greeting);
  CHECK(framer.next(input, packet) == LinkFramer::Result::more);
  CHECK(framer.pending() == 1);
}

}  // namespace wireup::wire
