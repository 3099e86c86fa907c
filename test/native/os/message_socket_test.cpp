#include "os/message_socket.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstring>
#include <memory>
#include <optional>

#include "os/fd_message.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

struct MessageObserver final : MessageSocketObserver {
  void on_message(std::string_view message, std::optional<std::vector<UniqueFd>> received) override {
    CHECK_FALSE(ended.has_value());
    messages.emplace_back(message);
    if (!received) {
      ++without_fds;
    } else {
      for (auto& fd : *received) fds.push_back(std::move(fd));
    }
    if (then) then();
  }
  void on_message_end(int error) override {
    CHECK_FALSE(ended.has_value());
    ended = error;
    if (at_end) at_end();
  }
  std::vector<std::string> messages;
  std::vector<UniqueFd> fds;
  int without_fds = 0;  // messages whose fds were lost
  std::optional<int> ended;
  std::function<void()> then;
  std::function<void()> at_end;
};

std::vector<UniqueFd> copies(int fd, std::size_t count) {
  std::vector<UniqueFd> fds;
  for (std::size_t i = 0; i < count; i++) fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  return fds;
}

}  // namespace

TEST_CASE("message socket: messages arrive whole and in order, with 253 fds") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver left_end;
  MessageObserver right_end;
  MessageSocket left(reactor, std::move(pair.first), left_end);
  MessageSocket right(reactor, std::move(pair.second), right_end);
  const FdPair pipe = make_pipe();
  const std::size_t before = fds_of(::getpid()).size();

  left.send("one");
  left.send(std::string(kMaxMessage, 'x'), copies(pipe.second.get(), kMaxFdsPerMessage));
  left.send("three", copies(pipe.first.get(), 1));
  right.send("answer");
  run_until(reactor, [&] { return right_end.messages.size() == 3 && left_end.messages.size() == 1; });
  CHECK(right_end.messages[0] == "one");
  CHECK(right_end.messages[1] == std::string(kMaxMessage, 'x'));
  CHECK(right_end.messages[2] == "three");
  CHECK(left_end.messages[0] == "answer");
  CHECK(left.flushed());
  REQUIRE(right_end.fds.size() == kMaxFdsPerMessage + 1);
  for (std::size_t i = 0; i < right_end.fds.size(); i++) {
    CHECK(inode(right_end.fds[i].get()) == inode(pipe.first.get()));
    CHECK((::fcntl(right_end.fds[i].get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK((::fcntl(right_end.fds.back().get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  // The sender has closed its copies.
  CHECK(fds_of(::getpid()).size() == before + right_end.fds.size());
}

TEST_CASE("message socket: queues everything, with fds, while the socket is full") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver sender_end;
  MessageSocket sender(reactor, std::move(pair.first), sender_end);
  const FdPair pipe = make_pipe();
  constexpr int kMessages = 300;
  for (int i = 0; i < kMessages; i++) {
    std::string message = std::to_string(i);
    message.resize(20'000, '.');
    sender.send(std::move(message), copies(pipe.first.get(), 2));
  }
  CHECK_FALSE(sender.flushed());
  run_once(reactor);

  MessageObserver receiver_end;
  MessageSocket receiver(reactor, std::move(pair.second), receiver_end);
  run_until(reactor, [&] { return receiver_end.messages.size() == kMessages; });
  for (int i = 0; i < kMessages; i++) CHECK(receiver_end.messages[i].starts_with(std::to_string(i) + "."));
  CHECK(receiver_end.fds.size() == 2 * kMessages);
  CHECK(sender.flushed());
}

TEST_CASE("message socket: reports the end after the last message") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  constexpr std::size_t kMessages = 100;
  for (std::size_t i = 0; i < kMessages; i++) REQUIRE(send_message(pair.second.get(), "m", {}) == 0);
  pair.second.reset();
  SUBCASE("the peer closes") {}
  SUBCASE("the peer closes and sending fails") { socket.send("too late", copies(STDERR_FILENO, 1)); }
  CHECK_FALSE(observer.ended.has_value());
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.messages.size() == kMessages);
  CHECK(observer.ended == 0);
  socket.send("ignored");
  CHECK(socket.flushed());
}

TEST_CASE("message socket: delivers all messages of a peer that closes with unread messages") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  socket.send("never read");
  REQUIRE(send_message(pair.second.get(), "last words", {}) == 0);
  pair.second.reset();
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.messages == std::vector<std::string>{"last words"});
  CHECK(observer.ended == 0);
}

TEST_CASE("message socket: the peer closes while messages are queued") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  const std::size_t before = fds_of(::getpid()).size();
  for (int i = 0; i < 50; i++) socket.send(std::string(50'000, 'x'), copies(STDERR_FILENO, 3));
  run_once(reactor);
  pair.second.reset();
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK((observer.ended == 0 || observer.ended == ECONNRESET));
  CHECK(fds_of(::getpid()).size() == before - 1);
}

TEST_CASE("message socket: refuses a message that is empty or too large") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  CHECK(thrown_by([&] { socket.send(std::string(kMaxMessage + 1, 'x')); }) == EMSGSIZE);
  CHECK(thrown_by([&] { socket.send(""); }) == EMSGSIZE);
  CHECK(thrown_by([&] { socket.send("x", copies(STDERR_FILENO, kMaxFdsPerMessage + 1)); }) == EMSGSIZE);
  CHECK(socket.flushed());
}

TEST_CASE("message socket: a truncated message ends it, and its fds are closed") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  const auto fds = fds_of(::getpid());
  REQUIRE(send_message(pair.second.get(), std::string(kMaxMessage + 1, 'x'), copies(STDERR_FILENO, 3)) == 0);
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.ended == EMSGSIZE);
  CHECK(observer.messages.empty());
  CHECK(fds_of(::getpid()) == fds);
}

TEST_CASE(
    "message socket: if the fds of a message exceed the limit, it arrives without fds, and later messages "
    "arrive") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const auto fds = fds_of(::getpid());
  // The limit allows some of the fds, which get the lowest free numbers.
  std::size_t room = 0;
  SUBCASE("none fits") {}
  SUBCASE("some fit") { room = 10; }
  REQUIRE(send_message(pair.second.get(), "too many", copies(STDERR_FILENO, 20)) == 0);
  REQUIRE(send_message(pair.second.get(), "none", {}) == 0);
  const rlimit tight{static_cast<rlim_t>(copies(STDERR_FILENO, room + 1).back().get()), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  run_until(reactor, [&] { return observer.messages.size() == 2; });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK_FALSE(observer.ended.has_value());
  CHECK(observer.messages == std::vector<std::string>{"too many", "none"});
  CHECK(observer.without_fds == 1);
  CHECK(fds_of(::getpid()) == fds);
}

TEST_CASE("message socket: an empty message means the end") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  MessageSocket socket(reactor, std::move(pair.first), observer);
  REQUIRE(send_message(pair.second.get(), "", copies(STDERR_FILENO, 1)) == 0);
  run_until(reactor, [&] { return observer.ended.has_value(); });
  CHECK(observer.ended == 0);
  CHECK(observer.fds.empty());
}

TEST_CASE("message socket: can be destroyed in its callbacks") {
  Reactor reactor;
  FdPair pair = seqpacket_pair();
  MessageObserver observer;
  auto socket = std::make_unique<MessageSocket>(reactor, std::move(pair.first), observer);
  REQUIRE(send_message(pair.second.get(), "one", {}) == 0);
  SUBCASE("on_message") {
    REQUIRE(send_message(pair.second.get(), "two", {}) == 0);
    observer.then = [&] { socket.reset(); };
  }
  SUBCASE("on_message_end") {
    pair.second.reset();
    observer.at_end = [&] { socket.reset(); };
  }
  run_until(reactor, [&] { return socket == nullptr; });
  run_once(reactor);
  CHECK(observer.messages.size() == 1);
}

// The kernel counts a user's fds in flight against the limit of open files, but not those of root. So a
// process of another user sends them.
TEST_CASE("message socket: if too many fds are in flight, it waits until some have arrived" *
          doctest::skip(!is_root())) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{64, 64};
    constexpr uid_t kNobody = 65534;
    if (::setrlimit(RLIMIT_NOFILE, &limit) < 0 || ::setuid(kNobody) < 0) ::_exit(2);
    try {
      Reactor reactor;
      FdPair pair = seqpacket_pair();
      MessageObserver sender_end;
      MessageSocket sender(reactor, std::move(pair.first), sender_end);
      std::vector<UniqueFd> fds;
      // The kernel allows one more than the limit.
      for (int i = 0; i < 20; i++) {
        sender.send(std::to_string(i), copies(STDERR_FILENO, 10));
        if (!sender.flushed()) break;
      }
      if (sender.flushed()) ::_exit(3);
      for (int i = 0; i < 5; i++) run_once(reactor);
      if (sender.flushed()) ::_exit(4);
      MessageObserver receiver_end;
      receiver_end.then = [&] { receiver_end.fds.clear(); };
      MessageSocket receiver(reactor, std::move(pair.second), receiver_end);
      run_until(reactor, [&] { return sender.flushed(); });
      ::_exit(sender_end.ended ? 5 : 0);
    } catch (const std::exception&) {
      ::_exit(6);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace wireup::os
