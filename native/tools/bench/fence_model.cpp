#include "tools/bench/fence_model.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/exchange.h"
#include "wire/agent_messages.h"
#include "wire/key_values.h"

namespace wireup::bench {
namespace {

using engine::Exchange;

void require(const std::string& error) {
  if (!error.empty()) throw std::logic_error(error);
}

std::uint64_t messages_for(std::size_t bytes) {
  return std::max<std::uint64_t>(1, (bytes + wire::agent::kMaxPart - 1) / wire::agent::kMaxPart);
}

// The top of a subtree.
struct Top {
  Top(const std::vector<Exchange::Child>& numbers, bool parent)
      : exchange(true, numbers, parent, std::numeric_limits<std::uint64_t>::max()) {}

  Exchange exchange;
  std::vector<std::uint32_t> children = {};  // the sizes of their subtrees
  double fenced = 0;                         // when its fence leaves, since time 0
  std::string fence = {};
  double finished = 0;  // when the last host below it is released, since its own release has come
  std::uint32_t depth = 0;
  NodeCost cost = {};
};

class Simulation {
 public:
  explicit Simulation(const FencePlan& plan) : plan_(plan) {
    if (plan.bytes == 0) return;
    // Each host puts a key of the same length, so equal subtrees have equally long keys.
    wire::append_key_value(own_keys_, "card-000000", std::string(plan.bytes, 'x'));
  }

  FenceCost run() {
    Top& root = gather(plan_.hosts, false);
    release(root, {});
    FenceCost result;
    result.wall = root.fenced + root.finished;
    result.depth = root.depth;
    result.root = root.cost;
    // How many subtrees of each size there are. Those below a top are smaller.
    std::map<std::uint32_t, std::uint32_t> counts{{plan_.hosts, 1}};
    for (const auto& [size, top] : tops_) {
      for (const std::uint32_t child : top.children) counts[child] += counts[size];
      result.processor += counts[size] * top.cost.processor;
      NodeCost& kind = top.children.empty() ? result.leaf : result.inner;
      if (&top != &root && top.cost.processor >= kind.processor) kind = top.cost;
    }
    return result;
  }

 private:
  // The sizes of the subtrees below the top of one: as those of a heap, they are filled from the left.
  std::vector<std::uint32_t> children_of(std::uint32_t size) const {
    const std::uint64_t width = plan_.width == 0 ? size : plan_.width;
    std::vector<std::uint32_t> sizes;
    if (size == 1) return sizes;
    if (width == 1) return {size - 1};
    // Every child has the levels that are full; what remains is on the last one.
    std::uint64_t full = 1;   // hosts in the full levels of one child
    std::uint64_t level = 1;  // hosts in the last of them
    const std::uint64_t below = size - 1;
    if (below < width) return std::vector<std::uint32_t>(below, 1);
    while (width * (full + level * width) <= below) {
      level *= width;
      full += level;
    }
    std::uint64_t rest = below - width * full;
    for (std::uint64_t i = 0; i < width; ++i) {
      const std::uint64_t more = std::min(rest, level * width);
      rest -= more;
      sizes.push_back(static_cast<std::uint32_t>(full + more));
    }
    return sizes;
  }

  double work(NodeCost& cost, std::uint64_t messages, double for_bytes) const {
    const double time = plan_.costs.message * static_cast<double>(messages) + for_bytes;
    cost.processor += time;
    return time;
  }
  double receive(NodeCost& cost, std::size_t bytes) const {
    const std::uint64_t messages = messages_for(bytes);
    cost.messages_in += messages;
    cost.bytes_in += bytes;
    return work(cost, messages, plan_.costs.receive * static_cast<double>(bytes));
  }
  double send(NodeCost& cost, std::size_t bytes) const {
    const std::uint64_t messages = messages_for(bytes);
    cost.messages_out += messages;
    cost.bytes_out += bytes;
    return work(cost, messages, plan_.costs.send * static_cast<double>(bytes));
  }
  double wire_time(std::size_t bytes) const { return static_cast<double>(bytes) / plan_.costs.bytes_per_ns; }

  // All hosts of a subtree have entered the fence, until its top sends it up.
  Top& gather(std::uint32_t size, bool has_parent) {
    if (const auto found = tops_.find(size); found != tops_.end()) return found->second;
    const std::vector<std::uint32_t> children = children_of(size);
    for (const std::uint32_t child : children) gather(child, true);
    std::vector<Exchange::Child> numbers(children.size());
    for (std::uint32_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
    Top& top = tops_.try_emplace(size, numbers, has_parent).first->second;
    top.children = children;
    top.cost.processor = plan_.costs.fence;
    double busy_until = plan_.costs.fence;
    require(top.exchange.local_fence(0, own_keys_));
    // In the order of arrival. Equal subtrees are neighbours already.
    std::vector<std::uint32_t> order(numbers);
    std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return tops_.at(children[i]).fenced; });
    double received_until = 0;
    for (const std::uint32_t i : order) {
      const Top& child = tops_.at(children[i]);
      const std::size_t bytes = child.fence.size();
      received_until = std::max(received_until, child.fenced + plan_.costs.latency) + wire_time(bytes);
      busy_until = std::max(busy_until, received_until) + receive(top.cost, bytes);
      require(top.exchange.child_fence(i, 0, child.fence, true));
      top.depth = std::max(top.depth, child.depth + 1);
    }
    if (auto up = top.exchange.take_up()) {
      top.fence = std::move(up->keys);
      busy_until += send(top.cost, top.fence.size());
    }
    top.fenced = busy_until;
    return top;
  }

  // The release has come to the top of a subtree with the keys of all other hosts.
  void release(Top& top, const std::string& keys) {
    double busy_until = 0;
    if (&top != &tops_.at(plan_.hosts)) {
      busy_until = receive(top.cost, keys.size());
      require(top.exchange.parent_release(0, keys, true));
    }
    double sent_until = 0;
    for (const Exchange::Down& down : top.exchange.take_down()) {
      const std::size_t bytes = down.keys.size();
      busy_until += send(top.cost, bytes);
      sent_until = std::max(sent_until, busy_until) + wire_time(bytes);
      const std::uint32_t size = top.children[down.child];
      Top& child = tops_.at(size);
      if (released_.insert(size).second) release(child, down.keys.text());
      top.finished = std::max(top.finished, sent_until + plan_.costs.latency + child.finished);
    }
    const auto local = top.exchange.take_local();
    if (!local) throw std::logic_error("the ranks of a host were not released");
    const double storing = plan_.costs.store * static_cast<double>(local->keys.size());
    top.cost.processor += storing;
    top.finished = std::max(top.finished, busy_until + storing);
  }

  FencePlan plan_;
  std::string own_keys_;
  std::map<std::uint32_t, Top, std::greater<>> tops_;  // by the size of the subtree
  std::set<std::uint32_t> released_;
};

}  // namespace

FenceCost simulate_fence(const FencePlan& plan) { return Simulation(plan).run(); }

}  // namespace wireup::bench
