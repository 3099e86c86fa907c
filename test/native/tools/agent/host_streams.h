// Output and Input of several hosts in one process, on one reactor, for tests. Their messages go over links
// that are queues in memory. The agent of host 0 has pipes of the test as its fds 0 and 1.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/blocking.h"
#include "tools/agent/host_messages.h"
#include "tools/agent/input.h"
#include "tools/agent/output.h"
#include "wire/agent_messages.h"

namespace wireup::test {

namespace msg = wire::agent;

// Replaces an fd of this process until the end of the scope.
class Replaced {
 public:
  Replaced(int fd, os::UniqueFd by) : fd_(fd), old_(::fcntl(fd, F_DUPFD_CLOEXEC, 10)) {
    REQUIRE(old_);
    REQUIRE(::dup2(by.get(), fd) == fd);
  }
  ~Replaced() { ::dup2(old_.get(), fd_); }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;

 private:
  int fd_;
  os::UniqueFd old_;
};

// Bytes that a thread writes to a pipe, as a rank does to its stdout. Stops at the first error.
class Writer {
 public:
  // `next` returns the next text; empty: the end.
  Writer(os::UniqueFd pipe, std::function<std::string()> next)
      : pipe_(std::move(pipe)), thread_([this, next = std::move(next)] {
          for (std::string text = next(); !text.empty() && error_ == 0; text = next()) write(text);
          ended_ = true;
          pipe_.reset();
        }) {}
  ~Writer() { thread_.join(); }

  std::size_t written() const { return written_; }
  int error() const { return error_; }
  bool ended() const { return ended_; }

 private:
  void write(std::string_view text) {
    while (!text.empty() && error_ == 0) {
      const ssize_t size = ::write(pipe_.get(), text.data(), text.size());
      if (size < 0) {
        error_ = errno;
      } else {
        written_ += static_cast<std::size_t>(size);
        text.remove_prefix(static_cast<std::size_t>(size));
      }
    }
  }

  os::UniqueFd pipe_;
  std::atomic<std::size_t> written_ = 0;
  std::atomic<int> error_ = 0;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

class Tree {
 public:
  // What one agent has.
  class Host final : agent::HostMessages, agent::OutputObserver {
   public:
    Host(Tree& tree, msg::Hello hello) : tree_(tree), number_(hello.host) {
      auto& hosts = static_cast<agent::HostMessages&>(*this);
      output = std::make_unique<agent::Output>(tree.reactor, hello, hosts,
                                               static_cast<agent::OutputObserver&>(*this));
      input = agent::make_input(tree.reactor, hello, hosts);
    }

    os::UniqueFd open(std::uint32_t rank, int fd = 1) {
      return output->open({0, rank, number_, "host" + std::to_string(number_)}, fd);
    }

    std::unique_ptr<agent::Output> output;
    std::unique_ptr<agent::Input> input;
    std::vector<std::pair<int, std::string>> lost;
    bool printed = false;

   private:
    void send_to(std::uint32_t host, msg::Message message) override {
      CHECK((number_ == 0) == (host != 0));
      tree_.send(number_, host, message);
    }
    void on_output_lost(int error, const std::string& subject) override { lost.emplace_back(error, subject); }
    void on_printed() override { printed = true; }

    Tree& tree_;
    std::uint32_t number_;
  };

  Tree() { ::signal(SIGPIPE, SIG_IGN); }
  ~Tree() {
    reactor.cancel(turn_);
    ::signal(SIGPIPE, SIG_DFL);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  Host& add(msg::Hello hello) {
    auto& host = hosts_[hello.host];
    host = std::make_unique<Host>(*this, std::move(hello));
    return *host;
  }

  // The host is lost: nothing of it arrives any more.
  void lose(std::uint32_t number) {
    lost_.push_back(number);
    std::erase_if(queue_, [&](const Packet& packet) { return packet.from == number || packet.to == number; });
    Host& own = *hosts_.at(0);
    own.output->lose_host(number);
    if (own.input) own.input->lose_host(number);
  }

  void run_until(const std::function<bool()>& done) {
    const auto limit = os::Reactor::Clock::now() + std::chrono::milliseconds(kTimeoutMs);
    std::function<void()> look = [&] {
      if (done() || os::Reactor::Clock::now() > limit) {
        reactor.stop();
      } else {
        reactor.after(std::chrono::milliseconds(1), look);
      }
    };
    reactor.post(look);
    reactor.run();
    REQUIRE(done());
  }
  void run_turns(int turns) {
    for (int i = 0; i < turns; ++i) {
      reactor.stop();
      reactor.run();
    }
  }

  // Runs all agents while a thread does something that blocks.
  void run_with(const std::function<void()>& blocking) {
    std::atomic<bool> done = false;
    std::thread thread([&] {
      blocking();
      done = true;
    });
    run_until([&] { return done.load(); });
    thread.join();
  }

  // Without credit: what the sender has sent and the receiver has not acknowledged. `stream` 0: stdin.
  std::size_t unacknowledged(std::uint32_t host, std::uint32_t stream) {
    return unacknowledged_[{host, stream}];
  }
  std::size_t most_unacknowledged(std::uint32_t host, std::uint32_t stream) {
    return most_unacknowledged_[{host, stream}];
  }

  os::Reactor reactor;
  std::vector<std::string> faults;

 private:
  friend class Host;
  struct Packet {
    std::uint32_t from;
    std::uint32_t to;
    std::string bytes;
  };
  using Key = std::pair<std::uint32_t, std::uint32_t>;

  void send(std::uint32_t from, std::uint32_t to, const msg::Message& message) {
    if (!hosts_.contains(to) || std::ranges::count(lost_, from == 0 ? to : from) > 0) return;
    if (const auto* output = std::get_if<msg::Output>(&message)) {
      CHECK(output->bytes.size() <= msg::kMaxPart);
      count({from, output->stream}, static_cast<std::ptrdiff_t>(msg::cost(*output)));
    } else if (const auto* input = std::get_if<msg::Input>(&message)) {
      CHECK(input->bytes.size() <= msg::kMaxPart);
      count({to, 0}, static_cast<std::ptrdiff_t>(input->bytes.size()));
    } else if (const auto* credit = std::get_if<msg::Credit>(&message)) {
      count({from == 0 ? to : from, credit->stream}, -static_cast<std::ptrdiff_t>(credit->bytes));
    }
    queue_.push_back({from, to, msg::encode(from, message)});
    if (turn_ == 0) turn_ = reactor.after(os::Reactor::Clock::duration::zero(), [this] { deliver(); });
  }

  void count(Key key, std::ptrdiff_t bytes) {
    std::size_t& now = unacknowledged_[key];
    now += static_cast<std::size_t>(bytes);
    most_unacknowledged_[key] = std::max(most_unacknowledged_[key], now);
  }

  void deliver() {
    turn_ = 0;
    for (std::size_t left = queue_.size(); left > 0 && !queue_.empty(); --left) {
      const Packet packet = std::move(queue_.front());
      queue_.pop_front();
      auto message = msg::decode(packet.bytes);
      REQUIRE(message.has_value());
      if (const char* fault = handle(*hosts_.at(packet.to), packet.from, *message))
        faults.emplace_back(fault);
    }
  }

  static const char* handle(Host& host, std::uint32_t from, msg::Message& message) {
    if (auto* output = std::get_if<msg::Output>(&message))
      return host.output->handle(from, std::move(*output));
    if (auto* close = std::get_if<msg::CloseOutput>(&message)) return host.output->handle(*close);
    if (auto* input = std::get_if<msg::Input>(&message)) return host.input->handle(*input);
    if (auto* readers = std::get_if<msg::InputReaders>(&message)) return host.input->handle(from, *readers);
    const auto& credit = std::get<msg::Credit>(message);
    return credit.stream == 0 ? host.input->handle(from, credit) : host.output->handle(credit);
  }

  std::map<std::uint32_t, std::unique_ptr<Host>> hosts_;
  std::vector<std::uint32_t> lost_;
  std::deque<Packet> queue_;
  os::Reactor::TimerId turn_ = 0;
  std::map<Key, std::size_t> unacknowledged_;
  std::map<Key, std::size_t> most_unacknowledged_;
};

// The capacity of a pipe.
inline constexpr std::size_t kPipe = 64 << 10;

inline bool is_writable(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 1;
}

}  // namespace wireup::test
