// Entries that wait to be stored.
#include "engine/kvs.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "engine/space.h"
#include "wire/key_values.h"

namespace wireup::engine {
namespace {

std::string one(std::string_view key, std::string_view value) {
  std::string text;
  wire::append_key_value(text, key, value);
  return text;
}

struct Fixture {
  std::shared_ptr<Space> space = std::make_shared<Space>(kDefaultSpace);
  SpaceShare share{space};
  Kvs kvs{share, true};
  std::string value(std::string_view key) const {
    const std::string* const found = kvs.get(key);
    return found == nullptr ? "none" : *found;
  }
};

}  // namespace

TEST_CASE("kvs: entries of other hosts can be read, the last one of a key counts") {
  Fixture world;
  world.kvs.store(one("a", "1") + one("b", "2"));
  world.kvs.store(one("b", "3"));
  CHECK(world.kvs.size() == 2);
  CHECK(world.value("a") == "1");
  CHECK(world.value("b") == "3");
  CHECK(world.value("c") == "none");
  CHECK(world.space->used() == 2 * kEntryCost + 4);
  CHECK(world.kvs.take_new().empty());
}

TEST_CASE("kvs: a put is newer than what has come before it, and older than what comes after it") {
  Fixture world;
  world.kvs.store(one("a", "theirs"));
  REQUIRE(world.kvs.put("a", "ours"));
  CHECK(world.value("a") == "ours");
  world.kvs.store(one("a", "theirs again"));
  CHECK(world.value("a") == "theirs again");
  CHECK(world.kvs.take_new() == one("a", "theirs again"));
}

TEST_CASE("kvs: entries that replace others take no space for long") {
  const auto space = std::make_shared<Space>(2 * kEntryCost + 4);
  SpaceShare share(space);
  Kvs kvs(share, true);
  for (int i = 0; i < 10; ++i) kvs.store(one("a", "1"));
  CHECK(space->is_full());
  REQUIRE(kvs.put("b", "2"));
  CHECK(space->used() == 2 * kEntryCost + 4);
  REQUIRE(kvs.put("a", "3"));
  for (int i = 0; i < 10; ++i) kvs.store(one("a", "4") + one("b", "5"));
  REQUIRE(kvs.put("b", "6"));
  CHECK(kvs.size() == 2);
  CHECK(space->used() == 2 * kEntryCost + 4);
  CHECK(*kvs.get("a") == "4");
  CHECK(*kvs.get("b") == "6");
}

TEST_CASE("kvs: a put into a space that entries of other hosts have filled fails") {
  Fixture world;
  world.space = std::make_shared<Space>(kEntryCost + 2);
  SpaceShare share(world.space);
  Kvs kvs(share, true);
  kvs.store(one("a", "1"));
  CHECK_FALSE(kvs.put("b", "2"));
  CHECK(kvs.size() == 1);
}

TEST_CASE("kvs: the same keys that come again and again need a limited memory") {
  Fixture world;
  const std::string text = one("key", std::string(1000, 'v'));
  for (int i = 0; i < 3000; ++i) world.kvs.store(text);
  // No call has needed them.
  CHECK(world.space->used() < kMaxUnread + kMaxUnread / 4);
  CHECK(world.kvs.size() == 1);
  CHECK(world.space->used() == kEntryCost + 1003);
}

}  // namespace wireup::engine
