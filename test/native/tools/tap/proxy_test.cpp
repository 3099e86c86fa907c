// The proxy between two socket pairs: whatever both sides do, they find what they would find on one
// connection.
#include "tools/tap/proxy.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "os/fd.h"
#include "runtime/blocking.h"

namespace {

using namespace wireup;
using namespace wireup::test;

struct Pair {
  Pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    outer.reset(ends[0]);
    inner.reset(ends[1]);
  }
  os::UniqueFd outer;  // of the test
  os::UniqueFd inner;  // of the proxy
};

struct Seen final : tap::ProxyObserver {
  void received(wire::Side side, std::string_view bytes) override { of(side) += bytes; }
  void ended(wire::Side side) override { ends += side == wire::Side::client ? "C" : "S"; }
  std::string& of(wire::Side side) { return side == wire::Side::client ? client : server; }
  std::string client;
  std::string server;
  std::string ends;
};

// The proxy in a thread of its own.
class Tapped {
 public:
  Tapped()
      : proxy_(std::move(program_.inner), std::move(server_.inner), seen), thread_([this] {
          id_ = ::gettid();
          proxy_.run();
        }) {}
  ~Tapped() {
    program().reset();
    server().reset();
    thread_.join();
  }

  os::UniqueFd& program() { return program_.outer; }
  os::UniqueFd& server() { return server_.outer; }

  // A thread that calls poll(2) again and again never sleeps.
  bool sleeps() const {
    std::ifstream file("/proc/self/task/" + std::to_string(id_) + "/stat");
    std::string stat;
    std::getline(file, stat);
    // "tid (name) state ..."
    const std::size_t name = stat.rfind(')');
    return name != std::string::npos && stat.substr(name).starts_with(") S ");
  }

  Seen seen;

 private:
  Pair program_;
  Pair server_;
  tap::Proxy proxy_;
  std::atomic<pid_t> id_ = 0;
  std::thread thread_;
};

std::string any_bytes(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Sends without blocking until neither the kernel nor the proxy takes more. Returns the number of bytes.
std::size_t fill(const Tapped& tapped, int fd, std::size_t most) {
  const std::string block(4096, 'x');
  std::size_t total = 0;
  while (total < most) {
    const ssize_t size = ::send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) {
      total += static_cast<std::size_t>(size);
      continue;
    }
    pollfd entry{fd, POLLOUT, 0};
    bool has_room = false;
    REQUIRE(eventually([&] {
      const bool sleeps = tapped.sleeps();
      has_room = ::poll(&entry, 1, 0) == 1;
      return has_room || sleeps;
    }));
    if (!has_room) return total;
  }
  return total;
}

TEST_CASE("any bytes pass in both directions at the same time") {
  Tapped tapped;
  const std::string request = any_bytes(3 << 20, 1);
  const std::string reply = any_bytes(2 << 20, 2);
  std::thread writer([&] {
    write_all(tapped.program().get(), request);
    ::shutdown(tapped.program().get(), SHUT_WR);
  });
  std::thread other_writer([&] {
    write_all(tapped.server().get(), reply);
    ::shutdown(tapped.server().get(), SHUT_WR);
  });
  std::string received;
  std::thread reader([&] { received = read_all(tapped.server().get()); });
  CHECK(read_all(tapped.program().get()) == reply);
  reader.join();
  CHECK(received == request);
  writer.join();
  other_writer.join();
  // All of it has been seen before it was passed on.
  CHECK(tapped.seen.client == request);
  CHECK(tapped.seen.server == reply);
}

TEST_CASE("messages are passed on at once, byte by byte") {
  Tapped tapped;
  for (const char byte : std::string("cmd=init\n\0\xff", 11)) {
    write_all(tapped.program().get(), std::string(1, byte));
    char got = 0;
    REQUIRE(wait_readable(tapped.server().get()));
    REQUIRE(::read(tapped.server().get(), &got, 1) == 1);
    CHECK(got == byte);
  }
}

TEST_CASE("a half-close passes through, and the other direction stays") {
  Tapped tapped;
  write_all(tapped.program().get(), "last");
  ::shutdown(tapped.program().get(), SHUT_WR);
  CHECK(read_all(tapped.server().get()) == "last");
  write_all(tapped.server().get(), "reply");
  tapped.server().reset();
  CHECK(read_all(tapped.program().get()) == "reply");
}

TEST_CASE("a program that closes is no half-close for a server that keeps the client's end") {
  Pair program;
  Pair server;
  const os::UniqueFd kept = os::duplicate(server.inner.get());
  Seen seen;
  tap::Proxy proxy(std::move(program.inner), std::move(server.inner), seen);
  std::thread thread([&] { proxy.run(); });
  write_all(program.outer.get(), "last");
  program.outer.reset();
  thread.join();
  char buffer[8];
  CHECK(::recv(server.outer.get(), buffer, sizeof buffer, MSG_DONTWAIT) == 4);
  CHECK(::recv(server.outer.get(), buffer, sizeof buffer, MSG_DONTWAIT) == -1);
  CHECK(errno == EAGAIN);
  CHECK(::send(server.outer.get(), "x", 1, MSG_NOSIGNAL) == 1);
  CHECK(seen.ends == "CS");
}

TEST_CASE("a server that shuts its reading down: the program cannot write, and reads on") {
  Tapped tapped;
  ::shutdown(tapped.server().get(), SHUT_RD);
  CHECK(eventually([&] { return ::send(tapped.program().get(), "x", 1, MSG_NOSIGNAL) < 0; }));
  CHECK(errno == EPIPE);
  write_all(tapped.server().get(), "reply\n");
  CHECK(read_line(tapped.program().get()) == "reply");
}

TEST_CASE("a server that closes: the program reads its last bytes, the end, and cannot write") {
  Tapped tapped;
  write_all(tapped.server().get(), "bye");
  tapped.server().reset();
  CHECK(read_all(tapped.program().get()) == "bye");
  CHECK(eventually([&] { return ::send(tapped.program().get(), "x", 1, MSG_NOSIGNAL) < 0; }));
  CHECK(errno == EPIPE);
}

TEST_CASE("a program that ends while nobody reads: the server gets its last bytes and the end") {
  Tapped tapped;
  const std::string last = any_bytes(100'000, 3);
  write_all(tapped.program().get(), last);
  // A reply that the program does not read any more.
  write_all(tapped.server().get(), "reply");
  tapped.program().reset();
  CHECK(read_all(tapped.server().get()) == last);
  CHECK(eventually([&] { return ::send(tapped.server().get(), "x", 1, MSG_NOSIGNAL) < 0; }));
}

TEST_CASE("a program that ends while the server does not read: the server's end ends the proxy") {
  Tapped tapped;
  fill(tapped, tapped.program().get(), 64 << 20);
  tapped.program().reset();
  tapped.server().reset();
}

TEST_CASE("a server that does not read stops the program, and loses no byte") {
  Tapped tapped;
  constexpr std::size_t kMost = 64 << 20;
  const std::size_t sent = fill(tapped, tapped.program().get(), kMost);
  CHECK(sent < kMost);
  // The other direction is free.
  write_all(tapped.server().get(), "go on\n");
  CHECK(read_line(tapped.program().get()) == "go on");
  ::shutdown(tapped.program().get(), SHUT_WR);
  CHECK(read_all(tapped.server().get()).size() == sent);
}

TEST_CASE("a program that does not read stops the server; the server's end waits for the program") {
  Tapped tapped;
  const std::size_t sent = fill(tapped, tapped.server().get(), 64 << 20);
  tapped.server().reset();
  CHECK(read_all(tapped.program().get()).size() == sent);
}

TEST_CASE("a waiting proxy sleeps after the server has gone") {
  Tapped tapped;
  fill(tapped, tapped.server().get(), 64 << 20);
  tapped.server().reset();
  CHECK(eventually([&] { return tapped.sleeps(); }));
}

TEST_CASE("both ends are reported, that of the side that ends first first") {
  for (const bool program_first : {true, false}) {
    std::string ends;
    {
      Pair program;
      Pair server;
      Seen seen;
      tap::Proxy proxy(std::move(program.inner), std::move(server.inner), seen);
      std::thread thread([&] { proxy.run(); });
      os::UniqueFd& first = program_first ? program.outer : server.outer;
      os::UniqueFd& second = program_first ? server.outer : program.outer;
      ::shutdown(first.get(), SHUT_WR);
      CHECK(read_all(second.get()) == "");
      ::shutdown(second.get(), SHUT_WR);
      thread.join();
      ends = seen.ends;
    }
    CHECK(ends == (program_first ? "CS" : "SC"));
  }
}

}  // namespace
