#include "tools/bench/byte_cost.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/exchange.h"
#include "tools/bench/script.h"
#include "tools/bench/util.h"
#include "wire/agent_messages.h"
#include "wire/key_values.h"
#include "wire/link_framer.h"

namespace wireup::bench {
namespace {

using engine::Exchange;

// A node with 32 children that have 32 hosts each, as in a job of 1,024 hosts.
constexpr std::uint32_t kChildren = 32;
constexpr std::uint32_t kHosts = 32;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr int kRounds = 9;

double processor_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// A link between two agents, both in this thread.
class LoopedLink {
 public:
  LoopedLink() {
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()), "socketpair");
    Exchange unused(true, {}, true, kNoLimit);
    pass(wire::encode_greeting({1, {}}), unused);
    sending_ = receiving_ = 0;
  }
  ~LoopedLink() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  LoopedLink(const LoopedLink&) = delete;
  LoopedLink& operator=(const LoopedLink&) = delete;

  // Processor time so far, in nanoseconds.
  double sending() const { return sending_; }
  double receiving() const { return receiving_; }

  // Sends the frame, and receives it again.
  void pass(std::string_view frame, Exchange& receiver) {
    // Less than what a socket holds.
    const std::size_t most = buffer_.size() / 2;
    for (; !frame.empty(); frame.remove_prefix(std::min(frame.size(), most))) {
      const double begin = processor_ns();
      check(static_cast<int>(::write(ends_[0], frame.data(), std::min(frame.size(), most))), "write");
      const double middle = processor_ns();
      const int got = check(static_cast<int>(::read(ends_[1], buffer_.data(), buffer_.size())), "read");
      take({buffer_.data(), static_cast<std::size_t>(got)}, receiver);
      sending_ += middle - begin;
      receiving_ += processor_ns() - middle;
    }
  }

 private:
  void take(std::string_view input, Exchange& receiver) {
    std::string_view packet;
    for (;;) {
      const auto result = framer_.next(input, packet);
      if (result == wire::LinkFramer::Result::more) return;
      if (result == wire::LinkFramer::Result::greeting) continue;
      const auto message = wire::agent::decode(packet);
      const auto& release = std::get<wire::agent::Release>(message.value());
      receiver.parent_release(release.number, release.keys, release.last);
    }
  }

  std::array<int, 2> ends_{};
  wire::LinkFramer framer_{0, wire::agent::kMaxPacket};
  std::array<char, 64 << 10> buffer_{};
  double sending_ = 0;
  double receiving_ = 0;
};

double middle_of(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

ByteCost measure_byte_cost() {
  std::string below;
  for (std::uint32_t i = 0; i < kHosts; ++i)
    wire::append_key_value(below, "card-000000", std::string(kCard, 'x'));
  std::vector<Exchange::Child> children(kChildren);
  std::iota(children.begin(), children.end(), 0);
  std::vector<double> receive;
  std::vector<double> send;
  for (int round = 0; round < kRounds; ++round) {
    LoopedLink link;
    Exchange node(false, children, false, kNoLimit);
    for (const Exchange::Child child : children) {
      if (child > 0) node.child_fence(child, 0, below, true);
    }
    std::vector<Exchange> receivers(kChildren, Exchange(true, {}, true, kNoLimit));
    for (Exchange& receiver : receivers) receiver.local_fence(0, {});
    std::size_t bytes = 0;
    const double begin = processor_ns();
    node.child_fence(0, 0, below, true);
    for (const Exchange::Down& down : node.take_down()) {
      bytes += down.keys.size();
      engine::OtherParts parts(down.keys);
      do {
        std::string part = parts.next(wire::agent::kMaxPart);
        const wire::agent::Release release{0, down.number, std::move(part), parts.done()};
        link.pass(wire::encode_frame(wire::agent::encode(down.child, release)), receivers[down.child]);
      } while (!parts.done());
    }
    const double making = processor_ns() - begin - link.sending() - link.receiving();
    receive.push_back(link.receiving() / static_cast<double>(bytes));
    send.push_back((making + link.sending()) / static_cast<double>(bytes));
  }
  return {.receive = middle_of(std::move(receive)), .send = middle_of(std::move(send))};
}

}  // namespace wireup::bench
