#include "os/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <functional>
#include <memory>
#include <optional>

#include "os/listener.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

struct BytesObserver final : StreamObserver {
  void on_bytes(Stream& stream, std::string_view bytes) override {
    CHECK_FALSE(ended.has_value());
    received.append(bytes);
    largest = std::max(largest, bytes.size());
    if (then) then(stream);
  }
  void on_end(Stream& stream, int error) override {
    CHECK_FALSE(ended.has_value());
    ended = error;
    if (at_end) at_end(stream);
  }
  std::string received;
  std::size_t largest = 0;
  std::optional<int> ended;
  std::function<void(Stream&)> then;
  std::function<void(Stream&)> at_end;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i++) text[i] = static_cast<char>('a' + i % 23 + i / 1009 % 3);
  return text;
}

// A connected TCP pair. The first socket is non-blocking.
FdPair tcp_pair() {
  Reactor reactor;
  UniqueFd accepted;
  Listener listener(reactor, *SocketAddress::numeric("127.0.0.1", 0),
                    [&](UniqueFd fd) { accepted = std::move(fd); });
  UniqueFd client = connect_blocking(listener.address(), 5000);
  run_until(reactor, [&] { return static_cast<bool>(accepted); });
  return {std::move(accepted), std::move(client)};
}

FdPair pair_of(bool tcp) { return tcp ? tcp_pair() : stream_pair(); }

void put(int fd, std::string_view bytes) {
  REQUIRE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

// Reads the bytes that are available now.
std::string take(int fd, std::size_t most = 1 << 20) {
  std::string text(most, '\0');
  const ssize_t count = ::recv(fd, text.data(), text.size(), MSG_DONTWAIT);
  text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return text;
}

}  // namespace

TEST_ON_BOTH_BACKENDS("stream: sends and receives, and reports the end after the last bytes") {
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    Reactor reactor(use);
    FdPair pair = pair_of(tcp);
    BytesObserver observer;
    Stream stream(reactor, std::move(pair.first), observer);
    stream.send("hello");
    char reply[5];
    REQUIRE(::recv(pair.second.get(), reply, 5, MSG_WAITALL) == 5);
    CHECK(std::string(reply, 5) == "hello");
    put(pair.second.get(), "last words");
    pair.second.reset();
    run_until(reactor, [&] { return observer.ended.has_value(); });
    CHECK(observer.received == "last words");
    CHECK(observer.ended == 0);
  }
}

TEST_ON_BOTH_BACKENDS("stream: TCP_NODELAY is set on TCP") {
  Reactor reactor(use);
  BytesObserver observer;
  Stream stream(reactor, tcp_pair().first, observer);
  int on = 0;
  socklen_t size = sizeof on;
  REQUIRE(::getsockopt(stream.fd(), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0);
  CHECK(on != 0);
}

TEST_ON_BOTH_BACKENDS("stream: refuses an fd that is not a socket") {
  Reactor reactor(use);
  BytesObserver observer;
  CHECK(thrown_by([&] { Stream(reactor, std::move(make_pipe().first), observer); }) == ENOTSOCK);
}

TEST_ON_BOTH_BACKENDS("stream: delivers more bytes than the budget in several turns, and then the hang-up") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  Stream stream(reactor, std::move(pair.first), observer, {.max_write_queue = 1, .read_budget = 2000});
  const std::string text = pattern(50'000);
  put(pair.second.get(), text);
  pair.second.reset();
  run_once(reactor);
  CHECK(observer.received.size() == 2000);
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.received == text);
  CHECK(observer.largest <= 2000);
  CHECK(observer.ended == 0);
}

TEST_ON_BOTH_BACKENDS("stream: after a failed send it still delivers the bytes of the peer") {
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    Reactor reactor(use);
    FdPair pair = pair_of(tcp);
    BytesObserver observer;
    Stream stream(reactor, std::move(pair.first), observer, {.max_write_queue = 100, .read_budget = 10});
    put(pair.second.get(), pattern(100));
    pair.second.reset();
    // On TCP the peer resets the connection after the first send, and the second send fails.
    stream.send("one");
    stream.send("two");
    CHECK_FALSE(observer.ended.has_value());
    run_until(reactor, [&] { return observer.ended.has_value(); });
    CHECK(observer.received == pattern(100));
    if (!tcp) CHECK(observer.ended == 0);
  }
}

TEST_ON_BOTH_BACKENDS("stream: ends if the peer shuts down its reading side") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  Stream stream(reactor, std::move(pair.first), observer);
  put(pair.second.get(), "x");
  REQUIRE(::shutdown(pair.second.get(), SHUT_RD) == 0);
  stream.send("reply");
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.received == "x");
  CHECK(observer.ended == 0);
}

TEST_ON_BOTH_BACKENDS("stream: a large send to a slow reader arrives whole") {
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    Reactor reactor(use);
    FdPair pair = pair_of(tcp);
    BytesObserver observer;
    Stream stream(reactor, std::move(pair.first), observer,
                  {.max_write_queue = 64 << 20, .read_budget = 1000});
    const std::string text = pattern(20'000'000);
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t size = std::min<std::size_t>(rest.size(), 700'001);
      stream.send(rest.substr(0, size));
      rest.remove_prefix(size);
    }
    std::string received;
    run_until(reactor, [&] {
      received += take(pair.second.get());
      return received.size() >= text.size();
    });
    CHECK(received == text);
    CHECK_FALSE(observer.ended.has_value());
  }
}

TEST_ON_BOTH_BACKENDS("stream: ends with ENOBUFS in the next turn if the queue exceeds its limit") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  Stream stream(reactor, std::move(pair.first), observer, {.max_write_queue = 10'000, .read_budget = 1000});
  const std::string piece(5'000, 'x');
  for (int i = 0; i < 1000; i++) stream.send(piece);
  CHECK_FALSE(observer.ended.has_value());
  run_once(reactor);
  CHECK(observer.ended == ENOBUFS);
  stream.send("ignored");
  run_once(reactor);
}

TEST_ON_BOTH_BACKENDS("stream: can be destroyed in its callbacks") {
  SUBCASE("on_bytes") {
    Reactor reactor(use);
    FdPair pair = stream_pair();
    BytesObserver observer;
    auto stream = std::make_unique<Stream>(reactor, std::move(pair.first), observer,
                                           StreamLimits{.max_write_queue = 10, .read_budget = 2000});
    observer.then = [&](Stream& s) {
      for (int i = 0; i < 1000; i++) s.send(std::string(5000, 'x'));
      stream.reset();
    };
    put(pair.second.get(), pattern(5000));
    run_until(reactor, [&] { return stream == nullptr; });
    run_once(reactor);
    CHECK(observer.received.size() <= 2000);
    CHECK_FALSE(observer.ended.has_value());
  }
  SUBCASE("on_end after EOF") {
    Reactor reactor(use);
    FdPair pair = stream_pair();
    BytesObserver observer;
    auto stream = std::make_unique<Stream>(reactor, std::move(pair.first), observer);
    observer.at_end = [&](Stream&) { stream.reset(); };
    pair.second.reset();
    run_until(reactor, [&] { return stream == nullptr; });
  }
  SUBCASE("on_end after overflow") {
    Reactor reactor(use);
    FdPair pair = stream_pair();
    BytesObserver observer;
    auto stream = std::make_unique<Stream>(reactor, std::move(pair.first), observer,
                                           StreamLimits{.max_write_queue = 10, .read_budget = 1000});
    observer.at_end = [&](Stream&) { stream.reset(); };
    for (int i = 0; i < 1000; i++) stream->send(std::string(5000, 'x'));
    run_until(reactor, [&] { return stream == nullptr; });
    CHECK(observer.ended == ENOBUFS);
  }
  SUBCASE("on_bytes after a failed send") {
    Reactor reactor(use);
    FdPair pair = stream_pair();
    BytesObserver observer;
    auto stream = std::make_unique<Stream>(reactor, std::move(pair.first), observer);
    observer.then = [&](Stream&) { stream.reset(); };
    put(pair.second.get(), "x");
    pair.second.reset();
    stream->send("y");
    run_until(reactor, [&] { return stream == nullptr; });
    CHECK(observer.received == "x");
    CHECK_FALSE(observer.ended.has_value());
  }
}

TEST_ON_BOTH_BACKENDS("stream: close_after_flush() sends the queue, stops reading, and ends in order") {
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    Reactor reactor(use);
    FdPair pair = pair_of(tcp);
    BytesObserver observer;
    auto stream = std::make_unique<Stream>(reactor, std::move(pair.first), observer,
                                           StreamLimits{.max_write_queue = 64 << 20, .read_budget = 1000});
    observer.at_end = [&](Stream&) { stream.reset(); };
    const std::string text = pattern(10'000'000);
    put(pair.second.get(), "not read any more");
    stream->send(text);
    stream->close_after_flush(1h);
    stream->send("not sent any more");
    CHECK_FALSE(observer.ended.has_value());
    std::string received;
    run_until(reactor, [&] {
      received += take(pair.second.get());
      return stream == nullptr;
    });
    for (std::string more; !(more = take(pair.second.get())).empty();) received += more;
    CHECK(received == text);
    CHECK(observer.received.empty());
    CHECK(observer.ended == 0);
    // An orderly end, not a reset.
    char byte;
    CHECK(::recv(pair.second.get(), &byte, 1, 0) == 0);
  }
}

TEST_ON_BOTH_BACKENDS("stream: close_after_flush() with an empty queue ends in the next turn") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  Stream stream(reactor, std::move(pair.first), observer);
  stream.close_after_flush(1h);
  CHECK_FALSE(observer.ended.has_value());
  run_once(reactor);
  CHECK(observer.ended == 0);
}

TEST_ON_BOTH_BACKENDS("stream: close_after_flush() ends after its timeout, or if the peer closes") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  Stream stream(reactor, std::move(pair.first), observer, {.max_write_queue = 64 << 20, .read_budget = 1000});
  stream.send(pattern(10'000'000));
  SUBCASE("timeout") {
    stream.close_after_flush(5ms);
    run_until(reactor, [&] { return observer.ended.has_value(); });
    CHECK(observer.ended == ETIMEDOUT);
  }
  SUBCASE("the peer closes") {
    stream.close_after_flush(1h);
    pair.second.reset();
    run_until(reactor, [&] { return observer.ended.has_value(); });
    CHECK((observer.ended == 0 || observer.ended == ECONNRESET));
  }
}

TEST_ON_BOTH_BACKENDS("stream: can be destroyed before on_end()") {
  Reactor reactor(use);
  FdPair pair = stream_pair();
  BytesObserver observer;
  {
    Stream stream(reactor, std::move(pair.first), observer);
    stream.close_after_flush(1h);
  }
  run_once(reactor);
  CHECK_FALSE(observer.ended.has_value());
}

}  // namespace wireup::os
