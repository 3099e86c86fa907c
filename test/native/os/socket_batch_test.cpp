// Streams whose receives and sends go by one system call for all that a turn has, and where the kernel
// refuses that.
#include "os/socket_batch.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/stream.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

// Enough for more than one filling of the ring's queue, and of one wait.
constexpr std::size_t kMany = 600;

// From here on this process gets EPERM from one system call. For a child: there is no way back.
void refuse(unsigned number) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
    std::_Exit(3);
  }
}

struct Client final : StreamObserver {
  Client(Reactor& reactor, StreamLimits limits) {
    FdPair pair = stream_pair();
    peer = std::move(pair.second);
    set_nonblocking(peer.get(), true);
    stream = std::make_unique<Stream>(reactor, std::move(pair.first), *this, limits);
  }

  void on_bytes(Stream&, std::string_view bytes) override {
    received.append(bytes);
    if (then) then(*this, bytes);
  }
  void on_end(Stream&, int error) override {
    ended = error;
    stream.reset();
  }

  void say(std::string_view text) const {
    REQUIRE(::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // What has come since, to `heard`.
  std::size_t hear() {
    char buffer[65536];
    for (ssize_t count; (count = ::recv(peer.get(), buffer, sizeof buffer, 0)) > 0;) {
      heard.append(buffer, static_cast<std::size_t>(count));
    }
    return heard.size();
  }

  UniqueFd peer;
  std::unique_ptr<Stream> stream;
  std::string received;
  std::string heard;
  std::optional<int> ended;
  std::function<void(Client&, std::string_view)> then;
};

struct Clients : std::deque<Client> {
  Clients(Reactor& reactor, std::size_t count, StreamLimits limits = {}) {
    for (std::size_t i = 0; i < count; ++i) emplace_back(reactor, limits);
  }
  bool all(const std::function<bool(Client&)>& is) {
    for (Client& client : *this) {
      if (!is(client)) return false;
    }
    return true;
  }
};

// Each sends lines of its own and gets them back. True when nothing is lost.
bool echo(Reactor& reactor) {
  Clients clients(reactor, 40);
  for (Client& client : clients) {
    client.then = [](Client& self, std::string_view bytes) { self.stream->send(bytes); };
    client.say("line of " + std::to_string(client.peer.get()) + "\n");
  }
  run_until(reactor, [&] {
    return clients.all(
        [](Client& client) { return client.hear() >= client.received.size() && client.hear() > 0; });
  });
  return clients.all(
      [](Client& client) { return client.heard == "line of " + std::to_string(client.peer.get()) + "\n"; });
}

bool has_io_uring() { return IoRing::open() != nullptr; }

constexpr Reactor::SocketCalls kWays[] = {Reactor::SocketCalls::together, Reactor::SocketCalls::alone};

}  // namespace

TEST_CASE("ring: results are those of recv and send, in their order, for more calls than it has room for" *
          doctest::skip(!has_io_uring())) {
  const auto ring = IoRing::open();
  std::vector<FdPair> pairs;
  std::vector<SocketCall> calls;
  std::vector<char> rooms(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    pairs.push_back(stream_pair());
    switch (i % 3) {
      case 0:
        REQUIRE(::send(pairs[i].second.get(), "ab", 2, 0) == 2);
        break;
      case 1:
        pairs[i].second.reset();
        break;
    }
    calls.push_back({SocketCall::Kind::receive, pairs[i].first.get(), &rooms[i], 1, 0});
    calls.push_back({SocketCall::Kind::send, pairs[i].first.get(), &rooms[i], 1, 0});
  }
  // Of one socket: the second comes after the first.
  calls.push_back({SocketCall::Kind::receive, pairs[0].first.get(), &rooms[1], 1, 0});
  calls.push_back({SocketCall::Kind::receive, -1, &rooms[1], 1, 0});
  REQUIRE(ring->perform(calls));
  for (std::size_t i = 0; i < kMany; ++i) {
    CAPTURE(i);
    const std::int32_t expected[] = {1, 0, -EAGAIN};
    CHECK(calls[2 * i].result == expected[i % 3]);
    CHECK(calls[2 * i + 1].result == (i % 3 == 1 ? -EPIPE : 1));
  }
  CHECK(rooms[0] == 'a');
  CHECK(calls[2 * kMany].result == 1);
  CHECK(rooms[1] == 'b');
  CHECK(calls[2 * kMany + 1].result == -EBADF);
}

TEST_CASE("batch: many streams at once, each gets its own") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    CHECK(echo(reactor));
  }
}

TEST_CASE("batch: where the kernel refuses io_uring, or ceases to allow it, all goes on") {
  for (const unsigned call : {SYS_io_uring_setup, SYS_io_uring_enter}) {
    CAPTURE(call);
    const pid_t child = ::fork();
    if (child == 0) {
      refuse(call);
      if (call == SYS_io_uring_setup && IoRing::open() != nullptr) std::_Exit(2);
      Reactor reactor;
      std::_Exit(echo(reactor) ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

TEST_CASE("batch: a turn's receives and sends are one call each" * doctest::skip(!has_io_uring())) {
  Reactor reactor;
  Clients clients(reactor, 8);
  const auto say = [&] {
    for (Client& client : clients) client.say("x");
  };
  for (Client& client : clients) {
    client.then = [&](Client& self, std::string_view) {
      self.stream->send("first,");
      self.stream->send("second");
      // Nothing has gone out by itself.
      CHECK(clients.all([](Client& each) { return each.hear() == 0; }));
    };
  }
  say();
  run_once(reactor);
  CHECK(clients.all([](Client& client) { return client.hear() == 12 && client.heard == "first,second"; }));
}

TEST_CASE("batch: nothing of it is left when the last stream has gone") {
  Reactor reactor;
  const auto fds = fds_of(::getpid());
  for (int i = 0; i < 3; ++i) {
    Clients clients(reactor, 8);
    for (Client& client : clients) {
      client.say("x");
      // All go while the first of them is heard, whose bytes stay good.
      client.then = [&](Client&, std::string_view bytes) {
        for (Client& each : clients) each.stream.reset();
        CHECK(bytes == "x");
      };
    }
    run_once(reactor);
    clients.clear();
    CHECK(fds_of(::getpid()) == fds);
  }
}

TEST_CASE("batch: what is sent to one in turn with others keeps its order, also when its socket is full") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    Clients clients(reactor, 8, {.max_write_queue = 64 << 20});
    std::string expected;
    for (int i = 0; i < 20'000; ++i) expected += std::to_string(i) + " is a number of a line\n";
    std::size_t started = 0;
    for (Client& client : clients) {
      client.say("go");
      client.then = [&](Client&, std::string_view) {
        if (++started < clients.size()) return;
        // In pieces, each to all: none but the first is the last that was added.
        for (std::size_t at = 0; at < expected.size(); at += 1000) {
          for (Client& each : clients) each.stream->send(std::string_view(expected).substr(at, 1000));
        }
      };
    }
    run_until(reactor,
              [&] { return clients.all([&](Client& client) { return client.hear() >= expected.size(); }); });
    CHECK(clients.all([&](Client& client) { return client.heard == expected; }));
  }
}

TEST_CASE("batch: more than the room of a receive, and the end after it") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    Clients clients(reactor, 8);
    for (std::size_t i = 0; i < clients.size(); ++i) {
      // 1,024 is exactly the room.
      clients[i].say(std::string(1020 + i, 'x') + std::string(i % 2 * 10'000, 'y'));
      clients[i].peer.reset();
    }
    run_until(reactor, [&] { return clients.all([](Client& client) { return client.ended.has_value(); }); });
    for (std::size_t i = 0; i < clients.size(); ++i) {
      CHECK(clients[i].received == std::string(1020 + i, 'x') + std::string(i % 2 * 10'000, 'y'));
      CHECK(clients[i].ended == 0);
    }
  }
}

TEST_CASE("batch: last words are heard although an answer to their speaker cannot be sent") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    Clients clients(reactor, 8);
    for (Client& client : clients) {
      client.say("last words");
      client.peer.reset();
      client.then = [&](Client&, std::string_view) {
        for (Client& each : clients) {
          if (each.stream) each.stream->send("an answer");
        }
      };
    }
    run_until(reactor, [&] { return clients.all([](Client& client) { return client.ended.has_value(); }); });
    CHECK(clients.all([](Client& client) { return client.received == "last words" && client.ended == 0; }));
  }
}

TEST_CASE("batch: a stream that goes in the turn sends what it was given, and hears nothing more") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    Clients clients(reactor, 8);
    std::size_t calls = 0;
    for (Client& client : clients) {
      client.say("x");
      client.then = [&](Client& self, std::string_view) {
        ++calls;
        for (Client& each : clients) {
          each.stream->send("bye");
          if (&each != &self) each.stream.reset();
        }
        self.stream->close_after_flush(1h);
      };
    }
    run_until(reactor, [&] { return clients.all([](Client& client) { return client.stream == nullptr; }); });
    CHECK(calls == 1);
    CHECK(clients.all([](Client& client) { return client.hear() == 3; }));
  }
}

TEST_CASE("batch: a queue over its bound ends that stream alone") {
  for (const auto way : kWays) {
    CAPTURE(static_cast<int>(way));
    Reactor reactor(way);
    Clients clients(reactor, 8, {.max_write_queue = 100'000});
    // Three times what a batch holds, a socket takes and the queue may be.
    const std::string much(3'000'000, 'x');
    for (Client& client : clients) {
      client.say("x");
      client.then = [&](Client& self, std::string_view) {
        if (&self != &clients[3]) return self.stream->send("answer");
        for (std::size_t at = 0; at < much.size(); at += 10'000)
          self.stream->send(std::string_view(much).substr(at, 10'000));
      };
    }
    run_until(reactor, [&] { return clients[3].ended.has_value() && clients[7].hear() == 6; });
    CHECK(clients[3].ended == ENOBUFS);
    for (std::size_t i = 0; i < clients.size(); ++i) {
      if (i != 3) CHECK((clients[i].hear() == 6 && !clients[i].ended));
    }
  }
}

}  // namespace wireup::os
