#include "os/socket_address.h"

#include <sys/un.h>

#include "os/listener.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

TEST_CASE("socket address: numeric") {
  const auto v4 = SocketAddress::numeric("127.0.0.1", 80);
  REQUIRE(v4.has_value());
  CHECK(v4->family() == AF_INET);
  CHECK(v4->text() == "127.0.0.1:80");
  CHECK(v4->host() == "127.0.0.1");
  CHECK(v4->port() == 80);
  const auto v6 = SocketAddress::numeric("::1", 65535);
  REQUIRE(v6.has_value());
  CHECK(v6->family() == AF_INET6);
  CHECK(v6->text() == "[::1]:65535");
  CHECK(v6->host() == "::1");
  for (const char* name :
       {"localhost", "", "127.1", "1.2.3.4.5", "256.1.1.1", "[::1]", "::1%lo", " 127.0.0.1"}) {
    CAPTURE(name);
    CHECK_FALSE(SocketAddress::numeric(name, 1).has_value());
  }
}

TEST_CASE("socket address: resolve") {
  const auto addresses = SocketAddress::resolve("127.0.0.1", 99);
  REQUIRE_FALSE(addresses.empty());
  CHECK(addresses[0].text() == "127.0.0.1:99");
  try {
    SocketAddress::resolve("no host has a blank", 99);
    FAIL("resolved");
  } catch (const OsError& error) {
    CHECK(error.syscall() == "getaddrinfo");
    CHECK(error.subject().find("no host has a blank: ") == 0);
  }
}

TEST_CASE("socket address: unix") {
  const auto path = SocketAddress::unix_path("/tmp/x");
  CHECK(path.text() == "/tmp/x");
  CHECK(path.is_unix_path());
  CHECK(path.port() == 0);
  CHECK(path.host().empty());
  const auto name = SocketAddress::unix_abstract("a name");
  CHECK(name.text() == "@a name");
  CHECK_FALSE(name.is_unix_path());
  CHECK(name.size() == offsetof(sockaddr_un, sun_path) + 7);
  CHECK(SocketAddress::unix_path(std::string(107, 'p')).text() == std::string(107, 'p'));
  CHECK(SocketAddress::unix_abstract(std::string(107, 'p')).text() == "@" + std::string(107, 'p'));
  CHECK(thrown_by([] { SocketAddress::unix_path(std::string(108, 'p')); }) == ENAMETOOLONG);
  CHECK(thrown_by([] { SocketAddress::unix_abstract(std::string(108, 'p')); }) == ENAMETOOLONG);
  CHECK(thrown_by([] { SocketAddress::unix_path(""); }) == EINVAL);
  CHECK(thrown_by([] { SocketAddress::unix_path(std::string("a\0b", 3)); }) == EINVAL);
  CHECK(thrown_by([] { SocketAddress::unix_abstract(""); }) == EINVAL);
}

TEST_CASE("socket address: local and peer addresses of sockets") {
  FdPair pair = stream_pair();
  CHECK(SocketAddress::of_local(pair.first.get()).text() == "unix");
  CHECK(SocketAddress::of_peer(pair.first.get()).text() == "unix");
  CHECK(thrown_by([] { SocketAddress::of_local(-1); }) == EBADF);
}

TEST_CASE("connect_blocking: no socket file, no listener, a full backlog, and success") {
  Reactor reactor;
  TemporaryFolder folder;
  CHECK(thrown_by([&] { connect_blocking(SocketAddress::unix_path(folder / "s"), 1000); }) == ENOENT);
  SocketAddress closed = *SocketAddress::numeric("127.0.0.1", 0);
  {
    Listener listener(reactor, closed, [](UniqueFd) {});
    closed = listener.address();
  }
  CHECK(thrown_by([&] { connect_blocking(closed, 1000); }) == ECONNREFUSED);

  // A backlog of 0 holds one connection.
  const SocketAddress full = SocketAddress::unix_path(folder / "full");
  const UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(server.get(), full.raw(), full.size()) == 0);
  REQUIRE(::listen(server.get(), 0) == 0);
  const UniqueFd first = connect_blocking(full, 1000);
  CHECK(thrown_by([&] { connect_blocking(full, 10); }) == ETIMEDOUT);
  CHECK(thrown_by([&] { connect_start(full); }) == EAGAIN);
  timeval timeout{9, 9};
  socklen_t size = sizeof timeout;
  REQUIRE(::getsockopt(first.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, &size) == 0);
  CHECK(timeout.tv_sec + timeout.tv_usec == 0);
}

}  // namespace wireup::os
