#include "tools/agent/fences.h"

#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace wireup::agent {

using namespace wire::agent;

namespace {

// Bytes that may wait for a child before parts of releases stay here.
constexpr std::size_t kMaxUnsentRelease = 4 * kMaxPart;

std::uint64_t times(std::uint64_t limit, std::uint64_t hosts) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return limit > kMost / hosts ? kMost : limit * hosts;
}

}  // namespace

std::size_t Fences::add(const wire::agent::Group& group) {
  std::set<std::uint32_t> hosts;
  for (const Node& node : group.nodes) hosts.insert(node.host);
  const std::size_t count = hosts.size();
  if (count > 1) groups_.emplace(group.number, Group{std::move(hosts)});
  return count;
}

engine::Exchange* Fences::exchange_of(std::uint32_t number) {
  const auto found = groups_.find(number);
  if (found == groups_.end()) return nullptr;
  Group& group = found->second;
  if (group.exchange) return group.exchange.get();
  const bool local = group.hosts.contains(router_.host());
  std::set<std::uint32_t> children;
  std::size_t below = 0;
  for (const std::uint32_t host : group.hosts) {
    const auto child = router_.child_of(host);
    if (!child) continue;
    children.insert(*child);
    ++below;
  }
  // A lost host counts as outside, so the barrier never completes; the job ends.
  const bool parent = below + (local ? 1 : 0) < group.hosts.size();
  group.exchange =
      std::make_unique<engine::Exchange>(local, std::vector<std::uint32_t>(children.begin(), children.end()),
                                         parent, times(kvs_limit_, group.hosts.size()));
  return group.exchange.get();
}

void Fences::fence_here(std::uint32_t group, engine::FenceQuery query) {
  engine::Exchange* const exchange = exchange_of(group);
  if (exchange == nullptr) return;
  exchange->local_fence(query.number, std::move(query.keys));
  carry_out(group, *exchange);
}

const char* Fences::fence_of(std::uint32_t child, const Fence& fence) {
  engine::Exchange* const exchange = exchange_of(fence.group);
  if (exchange == nullptr) return "is a fence of an unknown process group";
  if (std::string fault = exchange->child_fence(child, fence.number, fence.keys, fence.last); !fault.empty())
    return note(std::move(fault));
  return carry_out(fence.group, *exchange);
}

const char* Fences::release(const Release& release) {
  engine::Exchange* const exchange = exchange_of(release.group);
  if (exchange == nullptr) return "releases a barrier of an unknown process group";
  if (std::string fault = exchange->parent_release(release.number, release.keys, release.last);
      !fault.empty()) {
    return note(std::move(fault));
  }
  return carry_out(release.group, *exchange);
}

const char* Fences::carry_out(std::uint32_t group, engine::Exchange& exchange) {
  if (const auto up = exchange.take_up()) {
    std::string_view keys = up->keys;
    do {
      std::string part(engine::take_part(keys, kMaxPart));
      router_.send(Fence{group, up->number, std::move(part), keys.empty()});
    } while (!keys.empty());
  }
  // Before the releases, so that all that ranks do after the barrier is reported later.
  if (const auto number = exchange.take_completed()) observer_.on_barrier(group, *number);
  for (engine::Exchange::Down& down : exchange.take_down()) {
    const std::uint32_t child = down.child;
    releases_[child].emplace_back(group, std::move(down));
    send_releases(child);
  }
  if (auto here = exchange.take_local()) {
    // The ranks that it releases may enter the next barrier meanwhile, which calls fence_here().
    if (std::string fault = observer_.on_release(group, here->number, std::move(here->keys)); !fault.empty())
      return note(std::move(fault));
  }
  return nullptr;
}

void Fences::send_releases(std::uint32_t child) {
  const auto found = releases_.find(child);
  if (found == releases_.end()) return;
  std::list<WaitingRelease>& waiting = found->second;
  while (!waiting.empty() && router_.unsent_to(child) <= kMaxUnsentRelease) {
    WaitingRelease& next = waiting.front();
    std::string part = next.parts.next(kMaxPart);
    router_.send_to(child, Release{next.group, next.down.number, std::move(part), next.parts.done()});
    if (next.parts.done()) waiting.pop_front();
  }
  if (waiting.empty()) releases_.erase(found);
}

// What its hosts get after this must not name the group.
void Fences::forget(std::uint32_t group) {
  groups_.erase(group);
  for (auto& [child, waiting] : releases_)
    waiting.remove_if([group](const WaitingRelease& release) { return release.group == group; });
}

const char* Fences::note(std::string fault) {
  fault_ = "is an invalid barrier: " + std::move(fault);
  return fault_.c_str();
}

}  // namespace wireup::agent
