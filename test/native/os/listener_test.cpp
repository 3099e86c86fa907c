#include "os/listener.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <memory>

#include "os/limits.h"
#include "os/peer.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

struct Accepted {
  void operator()(UniqueFd fd) { sockets.push_back(std::move(fd)); }
  std::vector<UniqueFd> sockets;
};

struct FdLimitGuard {
  FdLimitGuard() { REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0); }
  ~FdLimitGuard() { ::setrlimit(RLIMIT_NOFILE, &before); }
  void set(rlim_t soft) {
    const rlimit limit{soft, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  rlimit before{};
};

}  // namespace

TEST_CASE("listener: accepts connections on each kind of address") {
  TemporaryFolder folder;
  const SocketAddress addresses[] = {
      *SocketAddress::numeric("127.0.0.1", 0),
      *SocketAddress::numeric("::1", 0),
      SocketAddress::unix_path(folder / "socket"),
      SocketAddress::unix_abstract("wireup-test-" + std::to_string(::getpid())),
  };
  for (const auto& address : addresses) {
    CAPTURE(address.text());
    Reactor reactor;
    Accepted accepted;
    Listener listener(reactor, address, std::ref(accepted));
    if (address.family() == AF_UNIX) {
      CHECK(listener.address().text() == address.text());
    } else {
      CHECK(listener.address().port() != 0);
      CHECK(listener.address().host() == address.host());
    }
    const UniqueFd first = connect_blocking(listener.address(), 5000);
    const UniqueFd second = connect_start(listener.address());
    run_until(reactor, [&] { return accepted.sockets.size() == 2; });
    for (const auto& socket : accepted.sockets) {
      CHECK((::fcntl(socket.get(), F_GETFL) & O_NONBLOCK) != 0);
      CHECK((::fcntl(socket.get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK((::fcntl(first.get(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(first.get(), F_GETFD) & FD_CLOEXEC) != 0);
    REQUIRE(::send(first.get(), "x", 1, 0) == 1);

    const auto peer = unix_peer(accepted.sockets[0].get());
    CHECK(peer.has_value() == (address.family() == AF_UNIX));
    if (peer) {
      CHECK(peer->uid == ::getuid());
      CHECK(peer->gid == ::getgid());
      CHECK(peer->pid == ::getpid());
    } else {
      CHECK(SocketAddress::of_peer(accepted.sockets[0].get()).text() ==
            SocketAddress::of_local(first.get()).text());
    }
    CHECK(thrown_by([&] { Listener(reactor, listener.address(), [](UniqueFd) {}); }) == EADDRINUSE);
  }
}

TEST_CASE("peer: empty for an fd that is not a connected unix socket") {
  const UniqueFd lonely(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK_FALSE(unix_peer(lonely.get()).has_value());
  CHECK_FALSE(unix_peer(make_pipe().first.get()).has_value());
  CHECK_FALSE(unix_peer(-1).has_value());
}

TEST_CASE("listener: `::` accepts IPv4 too, another IPv6 address does not") {
  Reactor reactor;
  Accepted accepted;
  Listener all(reactor, *SocketAddress::numeric("::", 0), std::ref(accepted));
  const UniqueFd client = connect_blocking(*SocketAddress::numeric("127.0.0.1", all.address().port()), 5000);
  run_until(reactor, [&] { return accepted.sockets.size() == 1; });
  Listener one(reactor, *SocketAddress::numeric("::1", 0), std::ref(accepted));
  CHECK(thrown_by([&] {
          connect_blocking(*SocketAddress::numeric(own_loopback(), one.address().port()), 5000);
        }) == ECONNREFUSED);
}

TEST_CASE("listener: the socket file has its mode, and the destructor removes it") {
  Reactor reactor;
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  struct stat status;
  const mode_t umask_before = ::umask(0);
  auto listener = std::make_unique<Listener>(reactor, SocketAddress::unix_path(path), [](UniqueFd) {});
  ::umask(umask_before);
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  SUBCASE("the file is removed") {
    listener.reset();
    CHECK(::lstat(path.c_str(), &status) < 0);
  }
  SUBCASE("another file in its place is not removed") {
    REQUIRE(::unlink(path.c_str()) == 0);
    Listener other(reactor, SocketAddress::unix_path(path), [](UniqueFd) {});
    listener.reset();
    CHECK(::lstat(path.c_str(), &status) == 0);
  }
  SUBCASE("an existing file that is not a socket is not changed") {
    write_file(folder / "file", "precious", 0600);
    CHECK(thrown_by([&] { Listener(reactor, SocketAddress::unix_path(folder / "file"), [](UniqueFd) {}); }) ==
          EADDRINUSE);
    CHECK(read_file(folder / "file") == "precious");
  }
}

TEST_CASE("listener: removes the file of a relative path after the working directory has changed") {
  Reactor reactor;
  TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  auto listener = std::make_unique<Listener>(reactor, SocketAddress::unix_path("relative"), [](UniqueFd) {});
  std::filesystem::current_path(before);
  CHECK(std::filesystem::exists(folder / "relative"));
  listener.reset();
  CHECK_FALSE(std::filesystem::exists(folder / "relative"));
}

TEST_CASE("listener: throws if it cannot bind") {
  Reactor reactor;
  CHECK(thrown_by([&] { Listener(reactor, *SocketAddress::numeric("203.0.113.1", 0), [](UniqueFd) {}); }) ==
        EADDRNOTAVAIL);
  CHECK(thrown_by([&] {
          Listener(reactor, SocketAddress::unix_path("/no/such/folder/s"), [](UniqueFd) {});
        }) == ENOENT);
}

TEST_CASE("listener: survives EMFILE and accepts the connections that waited") {
  Reactor reactor;
  Accepted accepted;
  Listener listener(reactor, *SocketAddress::numeric("127.0.0.1", 0), std::ref(accepted));
  const UniqueFd waiting = connect_blocking(listener.address(), 5000);
  FdLimitGuard limit;
  limit.set(0);
  int turns = 0;
  std::function<void()> count = [&] {
    ++turns;
    reactor.after(1ms, count);
  };
  count();
  // The timers of the test show that the loop runs. The listener continues after its pause.
  run_until(reactor, [&] { return turns >= 5; });
  CHECK(accepted.sockets.empty());
  limit.set(limit.before.rlim_cur);
  run_until(reactor, [&] { return accepted.sockets.size() == 1; });
}

TEST_CASE("listener: does not spin after EMFILE") {
  Reactor reactor;
  Accepted accepted;
  Listener listener(reactor, *SocketAddress::numeric("127.0.0.1", 0), std::ref(accepted));
  const UniqueFd waiting = connect_blocking(listener.address(), 5000);
  FdLimitGuard limit;
  limit.set(0);
  run_once(reactor);
  // While the listener pauses, the loop must block in its wait.
  const auto before = Reactor::Clock::now();
  reactor.after(20ms, [&] { reactor.stop(); });
  timespec used_before{};
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used_before);
  reactor.run();
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  CHECK(Reactor::Clock::now() - before >= 20ms);
  const auto nanoseconds =
      (used.tv_sec - used_before.tv_sec) * 1'000'000'000L + used.tv_nsec - used_before.tv_nsec;
  CHECK(nanoseconds < 10'000'000);
}

TEST_CASE("listener: can be destroyed in its callback while more connections wait") {
  Reactor reactor;
  std::unique_ptr<Listener> listener;
  int accepted = 0;
  listener = std::make_unique<Listener>(reactor, *SocketAddress::numeric("127.0.0.1", 0), [&](UniqueFd) {
    ++accepted;
    listener.reset();
  });
  const UniqueFd clients[] = {connect_blocking(listener->address(), 5000),
                              connect_blocking(listener->address(), 5000)};
  run_until(reactor, [&] { return listener == nullptr; });
  CHECK(accepted == 1);
}

TEST_CASE("limits: counts open fds and raises the limit") {
  const std::size_t before = open_fds();
  const FdPair pipe = make_pipe();
  CHECK(open_fds() == before + 2);

  FdLimitGuard guard;
  const FdLimit full = fd_limit();
  guard.set(before + 10);
  CHECK(fd_limit().soft == before + 10);
  CHECK(make_room_for_fds(1).soft == before + 10);
  const FdLimit raised = make_room_for_fds(100);
  CHECK(raised.soft == before + 2 + 100);
  CHECK(raised.hard == full.hard);
  CHECK(fd_limit().soft == raised.soft);
  CHECK(make_room_for_fds(full.hard).soft == full.hard);
}

TEST_CASE("limits: raises the limit if no fd is left for counting") {
  FdLimitGuard guard;
  const FdLimit full = fd_limit();
  guard.set(static_cast<std::size_t>(make_pipe().first.get()));
  CHECK(::open("/dev/null", O_RDONLY | O_CLOEXEC) < 0);
  const FdLimit raised = make_room_for_fds(10);
  CHECK(raised.soft == fd_limit().soft);
  CHECK(raised.soft > 10);
  CHECK(fd_limit().hard == full.hard);
  CHECK(open_fds() > 0);
}

}  // namespace wireup::os
