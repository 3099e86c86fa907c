#include "runtime/listen_addresses.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "os/error.h"

namespace wireup::runtime {
namespace {

const std::vector<os::InterfaceAddress> kHost = {{"lo", "127.0.0.1", true},
                                                 {"lo", "::1", true},
                                                 {"eth0", "192.0.2.7", false},
                                                 {"eth0", "2001:db8::7", false},
                                                 {"ib0", "10.1.2.3", false}};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("listen addresses: all that are not loopback, unless there is no other") {
  CHECK(choose_addresses(kHost, "") == Texts{"192.0.2.7", "[2001:db8::7]", "10.1.2.3"});
  CHECK(choose_addresses({kHost[0], kHost[1]}, "") == Texts{"127.0.0.1", "[::1]"});
}

TEST_CASE("listen addresses: those of an interface, an address, a network") {
  CHECK(choose_addresses(kHost, "eth0") == Texts{"192.0.2.7", "[2001:db8::7]"});
  CHECK(choose_addresses(kHost, "lo") == Texts{"127.0.0.1", "[::1]"});
  CHECK(choose_addresses(kHost, "10.1.2.3") == Texts{"10.1.2.3"});
  CHECK(choose_addresses(kHost, "10.0.0.0/8") == Texts{"10.1.2.3"});
  CHECK(choose_addresses(kHost, "2001:db8::/32") == Texts{"[2001:db8::7]"});
  CHECK(choose_addresses(kHost, "eth1").empty());
  CHECK(choose_addresses(kHost, "10.0.0.0/99").empty());
}

TEST_CASE("listen addresses: no more than a message can have") {
  const std::vector<os::InterfaceAddress> many(1000, kHost[4]);
  CHECK(choose_addresses(many, "").size() == 64);
}

TEST_CASE("listen addresses: this host has some, and none of an interface that does not exist") {
  CHECK_FALSE(listen_addresses("").empty());
  CHECK(listen_addresses("127.0.0.1") == Texts{"127.0.0.1"});
  CHECK_THROWS_WITH(listen_addresses("no-such-if"),
                    "the host has no network interface or address no-such-if");
}

}  // namespace wireup::runtime
