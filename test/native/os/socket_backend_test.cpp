// Many streams in one turn of the loop, on both socket backends; what only io_uring does; and a kernel that
// refuses io_uring.
#include "os/socket_backend.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <deque>
#include <exception>
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

// More calls than one io_uring_enter(2) performs.
constexpr std::size_t kMany = 600;

// Makes one system call fail with EPERM in this process, for ever. For a child process.
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

  void send_from_peer(std::string_view text) const {
    REQUIRE(::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // Appends to `at_peer` what the peer can read now. Returns the size of all that it has read.
  std::size_t read_at_peer() {
    char buffer[65536];
    for (ssize_t count; (count = ::recv(peer.get(), buffer, sizeof buffer, 0)) > 0;) {
      at_peer.append(buffer, static_cast<std::size_t>(count));
    }
    return at_peer.size();
  }

  UniqueFd peer;
  std::unique_ptr<Stream> stream;
  std::string received;
  std::string at_peer;
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

// Each of 40 peers sends its own line and gets it back. Returns whether every peer got its line, once.
bool echo(Reactor& reactor) {
  Clients clients(reactor, 40);
  for (Client& client : clients) {
    client.then = [](Client& self, std::string_view bytes) { self.stream->send(bytes); };
    client.send_from_peer("line of " + std::to_string(client.peer.get()) + "\n");
  }
  run_until(reactor, [&] {
    return clients.all([](Client& client) {
      return client.read_at_peer() >= client.received.size() && client.read_at_peer() > 0;
    });
  });
  return clients.all(
      [](Client& client) { return client.at_peer == "line of " + std::to_string(client.peer.get()) + "\n"; });
}

}  // namespace

TEST_CASE("io_uring: performs more calls than it has entries, in order, with the results of recv and send" *
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
  // A second receive from the first socket.
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

TEST_CASE("io_uring: not available here, so its half of the tests is skipped" *
          doctest::skip(has_io_uring())) {
  WARN_MESSAGE(has_io_uring(), "this kernel, or a seccomp filter, refuses io_uring");
}

TEST_ON_BOTH_BACKENDS("sockets: each of many streams receives its own bytes") {
  Reactor reactor(use);
  CHECK(echo(reactor));
}

TEST_CASE("io_uring: streams go on if the kernel refuses io_uring from the start, or later") {
  for (const unsigned call : {SYS_io_uring_setup, SYS_io_uring_enter}) {
    CAPTURE(call);
    const pid_t child = ::fork();
    if (child == 0) {
      refuse(call);
      if (call == SYS_io_uring_setup && IoRing::open() != nullptr) std::_Exit(2);
      Reactor automatic;
      Reactor always(UseIoUring::always);
      std::_Exit(echo(automatic) && echo(always) ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

TEST_CASE("io_uring: from 8 readable sockets on, all sends wait for the end of the turn" *
          doctest::skip(!has_io_uring())) {
  Reactor reactor;
  Clients clients(reactor, 8);
  for (Client& client : clients) {
    client.then = [&](Client& self, std::string_view) {
      self.stream->send("first,");
      self.stream->send("second");
      CHECK(clients.all([](Client& each) { return each.read_at_peer() == 0; }));
    };
    client.send_from_peer("x");
  }
  run_once(reactor);
  CHECK(clients.all(
      [](Client& client) { return client.read_at_peer() == 12 && client.at_peer == "first,second"; }));
}

TEST_ON_BOTH_BACKENDS("sockets: no fd is left open after the last stream has gone") {
  Reactor reactor(use);
  const auto fds = fds_of(::getpid());
  for (int i = 0; i < 3; ++i) {
    Clients clients(reactor, 8);
    for (Client& client : clients) {
      client.send_from_peer("x");
      // The bytes stay valid in the handler.
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

TEST_ON_BOTH_BACKENDS(
    "sockets: sends to several streams alternately keep their order, also if a socket is full") {
  Reactor reactor(use);
  Clients clients(reactor, 8, {.max_write_queue = 64 << 20});
  std::string expected;
  for (int i = 0; i < 20'000; ++i) expected += std::to_string(i) + " is a number of a line\n";
  std::size_t started = 0;
  for (Client& client : clients) {
    client.send_from_peer("go");
    client.then = [&](Client&, std::string_view) {
      if (++started < clients.size()) return;
      // One piece to each stream, then the next piece.
      for (std::size_t at = 0; at < expected.size(); at += 1000) {
        for (Client& each : clients) each.stream->send(std::string_view(expected).substr(at, 1000));
      }
    };
  }
  run_until(reactor, [&] {
    return clients.all([&](Client& client) { return client.read_at_peer() >= expected.size(); });
  });
  CHECK(clients.all([&](Client& client) { return client.at_peer == expected; }));
}

TEST_ON_BOTH_BACKENDS("sockets: more bytes than the room of one receive, and EOF behind them") {
  Reactor reactor(use);
  Clients clients(reactor, 8);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    // The room is 1,024 bytes.
    clients[i].send_from_peer(std::string(1020 + i, 'x') + std::string(i % 2 * 10'000, 'y'));
    clients[i].peer.reset();
  }
  run_until(reactor, [&] { return clients.all([](Client& client) { return client.ended.has_value(); }); });
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(clients[i].received == std::string(1020 + i, 'x') + std::string(i % 2 * 10'000, 'y'));
    CHECK(clients[i].ended == 0);
  }
}

TEST_ON_BOTH_BACKENDS(
    "sockets: a request of a peer that has gone is read although its reply cannot be sent") {
  Reactor reactor(use);
  Clients clients(reactor, 8);
  for (Client& client : clients) {
    client.send_from_peer("last request");
    client.peer.reset();
    client.then = [&](Client&, std::string_view) {
      for (Client& each : clients) {
        if (each.stream) each.stream->send("a reply");
      }
    };
  }
  run_until(reactor, [&] { return clients.all([](Client& client) { return client.ended.has_value(); }); });
  CHECK(clients.all([](Client& client) { return client.received == "last request" && client.ended == 0; }));
}

TEST_ON_BOTH_BACKENDS(
    "sockets: a stream that is destroyed in a turn sends what it was given, and receives no more") {
  Reactor reactor(use);
  Clients clients(reactor, 8);
  std::size_t calls = 0;
  for (Client& client : clients) {
    client.send_from_peer("x");
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
  CHECK(clients.all([](Client& client) { return client.read_at_peer() == 3; }));
}

TEST_ON_BOTH_BACKENDS("sockets: a queue over its limit ends only its own stream") {
  Reactor reactor(use);
  Clients clients(reactor, 8, {.max_write_queue = 100'000});
  // More than a turn collects, a socket takes and the queue may hold, together.
  const std::string much(3'000'000, 'x');
  for (Client& client : clients) {
    client.send_from_peer("x");
    client.then = [&](Client& self, std::string_view) {
      if (&self != &clients[3]) return self.stream->send("reply!");
      for (std::size_t at = 0; at < much.size(); at += 10'000)
        self.stream->send(std::string_view(much).substr(at, 10'000));
    };
  }
  run_until(reactor, [&] { return clients[3].ended.has_value() && clients[7].read_at_peer() == 6; });
  CHECK(clients[3].ended == ENOBUFS);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (i != 3) CHECK((clients[i].read_at_peer() == 6 && !clients[i].ended));
  }
}

TEST_ON_BOTH_BACKENDS(
    "sockets: a new stream does not receive what was received for an older one of its number") {
  Reactor reactor(use);
  Clients clients(reactor, 8);
  FdPair fresh = stream_pair();
  fresh.second.reset();
  struct Observer final : StreamObserver {
    void on_bytes(Stream&, std::string_view bytes) override { received.append(bytes); }
    void on_end(Stream&, int) override { ended = true; }
    std::string received;
    bool ended = false;
  } observer;
  std::unique_ptr<Stream> stream;
  for (Client& client : clients) {
    client.send_from_peer("for the old stream");
    client.then = [&](Client& self, std::string_view) {
      if (stream) return;
      Client& other = &self == &clients[0] ? clients[1] : clients[0];
      const int number = other.stream->fd();
      other.stream.reset();
      REQUIRE(::dup3(fresh.first.get(), number, O_CLOEXEC) == number);
      stream = std::make_unique<Stream>(reactor, UniqueFd(number), observer);
      // Too large to wait, so it fails now, and the stream reads to the end in this turn.
      stream->send(std::string(2 * SocketBackend::kMostWaitingBytes, 'x'));
    };
  }
  run_until(reactor, [&] { return observer.ended; });
  CHECK(observer.received.empty());
}

TEST_ON_BOTH_BACKENDS("sockets: a stream whose owner fails in the turn sends its last bytes once") {
  Reactor reactor(use);
  std::optional<Clients> clients;
  std::size_t failures = 0;
  reactor.on_failure([&](Reactor::Owner, const std::exception_ptr&) { ++failures; });
  reactor.post(7, [&] {
    clients.emplace(reactor, 8);
    for (Client& client : *clients) {
      client.send_from_peer("x");
      client.then = [](Client& self, std::string_view) {
        self.stream->send("once");
        throw 1;
      };
    }
  });
  run_until(reactor, [&] { return failures > 0; });
  for (Client& client : *clients) client.stream.reset();
  CHECK(failures == 1);
  std::size_t replies = 0;
  for (Client& client : *clients) replies += client.read_at_peer();
  CHECK(replies == 4);
}

}  // namespace wireup::os
