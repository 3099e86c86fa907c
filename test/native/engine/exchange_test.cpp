#include "engine/exchange.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "wire/key_values.h"

namespace wireup::engine {
namespace {

constexpr std::uint64_t kLimit = 1 << 20;

std::string entry(const std::string& key, const std::string& value = "v") {
  std::string text;
  wire::append_key_value(text, key, value);
  return text;
}

// What an exchange has to send, in one line.
std::string outputs(Exchange& exchange) {
  const auto keys_of = [](std::string_view keys) {
    std::string text;
    wire::KeyValueReader reader(keys);
    while (const auto next = reader.next()) text += std::string(next->first);
    CHECK(reader.done());
    return text;
  };
  std::string text;
  if (const auto up = exchange.take_up())
    text += "up " + std::to_string(up->number) + keys_of(up->keys) + " ";
  if (const auto completed = exchange.take_completed())
    text += "completed " + std::to_string(*completed) + " ";
  for (const auto& down : exchange.take_down())
    text += "to " + std::to_string(down.child) + " " + std::to_string(down.number) +
            keys_of(down.keys.text()) + " ";
  if (const auto local = exchange.take_local())
    text += "local " + std::to_string(local->number) + keys_of(local->keys) + " ";
  return text;
}

std::string missing(const Exchange& exchange) {
  const Exchange::Missing missing = exchange.missing();
  std::string text = missing.local ? "local " : "";
  for (const Exchange::Child child : missing.children) text += std::to_string(child) + " ";
  return text + (missing.parent ? "parent " : "");
}

TEST_CASE("exchange: the top of the tree completes a barrier, and each part gets the keys of the others") {
  Exchange exchange(true, {1, 2}, false, kLimit);
  for (std::uint64_t number = 0; number < 2; ++number) {
    CHECK(exchange.number() == number);
    CHECK(missing(exchange) == "local 1 2 ");
    CHECK(exchange.child_fence(2, number, entry("c"), false) == "");
    CHECK(exchange.local_fence(number, entry("a")) == "");
    CHECK(exchange.child_fence(2, number, entry("d"), true) == "");
    CHECK(missing(exchange) == "1 ");
    CHECK(outputs(exchange) == "");
    CHECK(exchange.child_fence(1, number, entry("b"), true) == "");
    const std::string n = std::to_string(number);
    CHECK(outputs(exchange) == "completed " + n + " to 1 " + n + "acd to 2 " + n + "ab local " + n + "bcd ");
    CHECK(outputs(exchange) == "");
  }
}

TEST_CASE("exchange: below a parent a barrier goes up once, and completes by the parent's release") {
  Exchange exchange(true, {7}, true, kLimit);
  CHECK(exchange.local_fence(0, entry("a")) == "");
  CHECK(outputs(exchange) == "");
  CHECK(exchange.child_fence(7, 0, entry("b"), true) == "");
  CHECK(outputs(exchange) == "up 0ab ");
  CHECK(missing(exchange) == "parent ");
  CHECK(exchange.parent_release(0, entry("c"), false) == "");
  CHECK(outputs(exchange) == "");
  CHECK(exchange.parent_release(0, "", true) == "");
  CHECK(outputs(exchange) == "to 7 0ac local 0bc ");
  CHECK(missing(exchange) == "local 7 ");
  // A barrier without puts.
  CHECK(exchange.child_fence(7, 1, "", true) == "");
  CHECK(exchange.local_fence(1, "") == "");
  CHECK(outputs(exchange) == "up 1 ");
  CHECK(exchange.parent_release(1, "", true) == "");
  CHECK(outputs(exchange) == "to 7 1 local 1 ");
}

TEST_CASE("exchange: an agent without ranks of its own, and one without children") {
  Exchange through(false, {3}, true, kLimit);
  CHECK(through.child_fence(3, 0, entry("a"), true) == "");
  CHECK(outputs(through) == "up 0a ");
  CHECK(through.parent_release(0, entry("b"), true) == "");
  CHECK(outputs(through) == "to 3 0b ");

  Exchange leaf(true, {}, true, kLimit);
  CHECK(leaf.local_fence(0, entry("a")) == "");
  CHECK(outputs(leaf) == "up 0a ");
  CHECK(leaf.parent_release(0, entry("b"), true) == "");
  CHECK(outputs(leaf) == "local 0b ");
}

TEST_CASE("exchange: an invalid input changes nothing") {
  Exchange exchange(true, {1, 2}, true, 100);
  const std::string big = entry("k", std::string(60, 'v'));
  CHECK(exchange.child_fence(1, 0, entry("b"), true) == "");
  CHECK(exchange.child_fence(2, 0, big, false) == "");

  CHECK(exchange.child_fence(3, 0, "", true) == "a fence of a child without ranks");
  CHECK(exchange.child_fence(1, 1, "", true) == "barrier 1, but the current one is 0");
  CHECK(exchange.child_fence(1, 0, "", true) == "a second time barrier 0");
  CHECK(exchange.child_fence(1, 0, "", false) == "a second time barrier 0");
  CHECK(exchange.child_fence(2, 0, big, true) == "more than 100 bytes of keys and values for one barrier");
  CHECK(exchange.child_fence(2, 0, entry("c").substr(1), true) == "malformed keys and values");
  CHECK(exchange.child_fence(2, 0, entry(""), true) == "a key that no rank can put");
  CHECK(exchange.child_fence(2, 0, entry("PMI_x"), true) == "a key that belongs to the server");
  CHECK(exchange.parent_release(0, "", true) == "a release of barrier 0, which not all ranks have entered");
  CHECK(exchange.local_fence(1, "") == "barrier 1, but the current one is 0");
  CHECK(missing(exchange) == "local 2 ");

  CHECK(exchange.local_fence(0, entry("a")) == "");
  CHECK(exchange.local_fence(0, "") == "a second time barrier 0");
  CHECK(exchange.child_fence(2, 0, "", true) == "");
  CHECK(outputs(exchange) == "up 0abk ");
  CHECK(exchange.child_fence(2, 0, "", true) == "a second time barrier 0");
  CHECK(exchange.parent_release(1, "", true) == "barrier 1, but the current one is 0");
  CHECK(exchange.parent_release(0, big + big, true) ==
        "more than 100 bytes of keys and values for one barrier");
  CHECK(exchange.parent_release(0, "x", true) == "malformed keys and values");
  CHECK(outputs(exchange) == "");
  CHECK(exchange.parent_release(0, entry("d"), true) == "");
  CHECK(outputs(exchange) == "to 1 0akd to 2 0abd local 0bkd ");
  CHECK(exchange.parent_release(0, "", true) == "a release of barrier 0, which not all ranks have entered");

  Exchange top(false, {1}, false, kLimit);
  CHECK(top.local_fence(0, "") == "a fence of this host, which has no ranks");
  CHECK(top.parent_release(0, "", true) == "a release, but all ranks are in this part of the tree");
}

TEST_CASE("exchange: keys are cut into parts of whole entries") {
  const std::string text = entry("a") + entry("b") + entry("c", std::string(100, 'v')) + entry("d");
  const std::size_t one = entry("a").size();
  const struct {
    std::size_t most;
    std::vector<std::size_t> sizes;
  } rows[] = {
      {1, {one, one, one + 99, one}},
      {2 * one, {2 * one, one + 99, one}},
      {2 * one + 99, {2 * one, 2 * one + 99}},
      {3 * one + 99, {3 * one + 99, one}},
      {1000, {text.size()}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.most);
    std::string_view rest = text;
    std::string joined;
    std::vector<std::size_t> found;
    while (!rest.empty()) {
      const std::string_view part = take_part(rest, row.most);
      REQUIRE_FALSE(part.empty());
      found.push_back(part.size());
      joined += part;
    }
    CHECK(joined == text);
    CHECK(found == row.sizes);
  }
  std::string_view none;
  CHECK(take_part(none, 10).empty());
}

TEST_CASE("exchange: the keys of a release are cut into parts of whole entries, without the own ones") {
  const std::string keys[] = {entry("a") + entry("b"), entry("c") + entry("d", std::string(50, 'v')),
                              entry("e")};
  const auto all = std::make_shared<const std::string>(keys[0] + keys[1] + keys[2]);
  std::size_t begin = 0;
  for (const std::string& own : keys) {
    const OtherKeys others(all, begin, own.size());
    std::string expected = *all;
    expected.erase(begin, own.size());
    begin += own.size();
    CHECK(others.size() == expected.size());
    CHECK(others.text() == expected);
    for (std::size_t most = 1; most <= all->size(); ++most) {
      CAPTURE(most);
      OtherParts parts(others);
      std::string joined;
      while (!parts.done()) {
        const std::string part = parts.next(most);
        wire::KeyValueReader reader(part);
        std::size_t entries = 0;
        while (reader.next()) ++entries;
        CHECK(reader.done());
        CHECK((entries == 1 || part.size() <= most));
        joined += part;
      }
      CHECK(joined == expected);
    }
    // All in one part, from both sides of the own keys.
    CHECK(OtherParts(others).next(all->size()) == expected);
  }
  OtherParts none(OtherKeys(all, 0, all->size()));
  CHECK(none.done());
  CHECK(none.next(10).empty());
}

TEST_CASE("exchange: the releases of a barrier share the memory of its keys") {
  Exchange exchange(true, {1, 2}, false, kLimit);
  CHECK(exchange.local_fence(0, entry("a")) == "");
  CHECK(exchange.child_fence(1, 0, entry("b"), true) == "");
  CHECK(exchange.child_fence(2, 0, entry("c"), true) == "");
  const std::vector<Exchange::Down> down = exchange.take_down();
  REQUIRE(down.size() == 2);
  CHECK(down[0].keys.before().data() == down[1].keys.before().data());
}

}  // namespace
}  // namespace wireup::engine
