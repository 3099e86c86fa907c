#include "wire/name_messages.h"

#include <doctest/doctest.h>

#include <random>

#include "wire/framer.h"
#include "wire/limits.h"

namespace wireup::wire::names {
namespace {

std::vector<Message> samples() {
  return {Hello{.kvsname = "kvs"},
          Ask{{Operation::publish, "ocean", "tag#0$a b$"}},
          Ask{{Operation::unpublish, "ocean"}},
          List{"after"},
          Welcome{},
          Reply{{Error::none, "port"}},
          Reply{{Error::gone}},
          Page{{{"s", "p", "k", 7}, {"t", "", "", 0}}, false},
          Page{}};
}

std::string packet_of(const Message& message) { return encode(message).substr(kFrameHeader); }

bool is_accepted(const Message& message) { return decode(packet_of(message)).has_value(); }

}  // namespace

TEST_CASE("name messages: decode reverses encode, through a framer") {
  std::string stream;
  for (const Message& message : samples()) stream += encode(message);
  FrameFramer framer(kMaxFrameToServer);
  std::string_view input = stream;
  for (const Message& message : samples()) {
    std::string_view frame;
    REQUIRE(framer.next(input, frame) == FrameFramer::Result::frame);
    const auto back = decode(frame);
    REQUIRE(back.has_value());
    CHECK(back->index() == message.index());
    CHECK(encode(*back) == encode(message));
  }
  CHECK(input.empty());
}

TEST_CASE("name messages: the largest messages fit in their frames") {
  const std::string longest(kMaxValue - 1, 'x');
  CHECK(is_accepted(Ask{{Operation::publish, longest, longest}}));
  CHECK(packet_of(Ask{{Operation::publish, longest, longest}}).size() <= kMaxFrameToServer);
  Page page;
  page.rows.assign(kPageRows, Row{longest, longest, std::string(kMaxKvsname - 1, 'k'), 1});
  CHECK(is_accepted(page));
  CHECK(packet_of(page).size() <= kMaxFrameToClient);
  page.rows.emplace_back();
  CHECK_FALSE(is_accepted(page));
}

TEST_CASE("name messages: text that PMI cannot transmit is refused") {
  const std::string long_name(kMaxValue, 'x');
  CHECK_FALSE(is_accepted(Ask{{Operation::lookup, ""}}));
  CHECK_FALSE(is_accepted(Ask{{Operation::lookup, long_name}}));
  CHECK_FALSE(is_accepted(Ask{{Operation::lookup, std::string(10'000, 'x')}}));
  CHECK_FALSE(is_accepted(Ask{{Operation::publish, "s", long_name}}));
  CHECK_FALSE(is_accepted(Ask{{Operation::publish, "s", "p\ncmd=abort"}}));
  CHECK_FALSE(is_accepted(Ask{{Operation::publish, std::string("s\0", 2), "p"}}));
  CHECK_FALSE(is_accepted(Hello{.kvsname = std::string(kMaxKvsname, 'k')}));
  CHECK_FALSE(is_accepted(List{long_name}));
  CHECK_FALSE(is_accepted(Reply{{Error::none, "a\nb"}}));
  CHECK_FALSE(is_accepted(Page{{{"s", long_name, "k", 1}}, true}));
  CHECK_FALSE(is_accepted(Page{{}, false}));
}

TEST_CASE("name messages: cut messages and extra bytes are refused") {
  for (const Message& message : samples()) {
    const std::string packet = packet_of(message);
    for (std::size_t size = 0; size < packet.size(); ++size) {
      CAPTURE(message.index());
      CAPTURE(size);
      CHECK_FALSE(decode(std::string_view(packet).substr(0, size)).has_value());
    }
    CHECK_FALSE(decode(packet + '\0').has_value());
  }
  CHECK_FALSE(decode("\x06").has_value());
}

TEST_CASE("name messages: random and mutated bytes are refused or encode to the same bytes") {
  std::mt19937 random(20240229);
  const std::vector<Message> seeds = samples();
  for (int round = 0; round < 200'000; ++round) {
    std::string packet =
        round % 2 == 0 ? std::string(random() % 64, '\0') : packet_of(seeds[random() % seeds.size()]);
    const std::size_t changes = round % 2 == 0 ? packet.size() : 1 + random() % 4;
    for (std::size_t i = 0; i < changes && !packet.empty(); ++i) {
      packet[random() % packet.size()] = static_cast<char>(random() % 4 == 0 ? random() : random() % 8);
    }
    if (const auto message = decode(packet)) CHECK(packet_of(*message) == packet);
  }
}

}  // namespace wireup::wire::names
