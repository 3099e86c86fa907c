#include "os/name_lookup.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "os/error.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;
using namespace std::chrono_literals;

namespace {

auto in(std::chrono::milliseconds delay) { return std::chrono::steady_clock::now() + delay; }

// The threads of a late look-up outlive its test case.
std::promise<void> release_hanging;
const std::shared_future<void> hanging_released = release_hanging.get_future().share();
std::atomic<int> hanging = 0;

std::vector<SocketAddress> pretend_to_resolve(const std::string& host, std::uint16_t port) {
  const auto address = [port](const char* digits) { return SocketAddress::numeric(digits, port).value(); };
  if (host == "alias") return {address("127.0.0.1"), address("::1")};
  if (host == "shared") return {address("127.0.0.1"), address("192.0.2.1")};
  if (host == "other") return {address("192.0.2.1")};
  if (host.starts_with("hang")) {
    ++hanging;
    hanging_released.wait();
  }
  throw OsError(ENXIO, "getaddrinfo", host + ": unknown");
}

}  // namespace

TEST_CASE("name lookup: each name gets its own result, in order") {
  std::vector<std::string> names{"127.0.0.2", "alias", "none", "other"};
  // More names than threads.
  for (int i = 0; i < 100; ++i) names.push_back(i % 2 == 0 ? "other" : "none");
  const std::vector<NameLookup> found = look_up_names(names, 80, in(1min), pretend_to_resolve);
  REQUIRE(found.size() == names.size());
  CHECK(found[0].addresses.at(0).text() == "127.0.0.2:80");
  CHECK(found[1].addresses.at(1).text() == "[::1]:80");
  CHECK(found[2].addresses.empty());
  CHECK(found[2].error == ENXIO);
  CHECK(found[2].subject == "none: unknown");
  for (std::size_t i = 3; i < names.size(); ++i)
    CHECK(found[i].addresses.size() == (names[i] == "other" ? 1 : 0));
}

TEST_CASE("name lookup: the deadline") {
  // All threads hang, so the last name is never looked up.
  std::vector<std::string> names(8, "hang");
  names.push_back("alias");
  names.push_back("::1");
  const std::vector<NameLookup> found = look_up_names(names, 80, in(1ms), pretend_to_resolve);
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(found[i].addresses.empty());
    CHECK(found[i].error == ETIMEDOUT);
  }
  CHECK(found[0].subject == "hang: the look-up of the name takes too long");
  CHECK(found[9].addresses.size() == 1);
  CHECK(hanging <= 8);
  release_hanging.set_value();
}

TEST_CASE("name lookup: a name is this host's if all its addresses are") {
  CHECK(find_own_names({"alias", "shared", "other", "none", "127.9.9.9", "::1", "192.0.2.1", "2001:db8::1"},
                       in(1min), pretend_to_resolve) ==
        std::vector<bool>{true, false, false, false, true, true, false, false});
  CHECK(find_own_names({}, in(1min)).empty());
}

TEST_CASE("name lookup: the host's resolver") {
  const std::vector<NameLookup> found = look_up_names({"localhost", "no host has a blank"}, 1, in(1min));
  CHECK(found[0].addresses.size() >= 1);
  CHECK(found[1].subject.find("no host has a blank: ") == 0);
  CHECK(find_own_names({"localhost"}, in(1min)) == std::vector<bool>{true});
}

}  // namespace wireup::os
