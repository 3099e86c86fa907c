#include "runtime/status_queries.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/engine_messages.h"

namespace wireup::runtime {
namespace {

// The parts of the process group that are valid, by host.
std::map<std::uint32_t, engine::ProcessGroupStatus> parts_of(std::uint32_t group,
                                                             const std::vector<std::uint32_t>& places,
                                                             const StatusQueries::Replies& replies) {
  std::map<std::uint32_t, engine::ProcessGroupStatus> parts;
  for (const auto& [host, reply] : replies) {
    const auto own = std::ranges::find(reply.groups, group, &wire::agent::GroupStatus::group);
    if (own == reply.groups.end()) continue;
    auto part = from_message(*own, static_cast<std::uint32_t>(places.size()));
    if (part && part->ranks.size() == static_cast<std::size_t>(std::ranges::count(places, host)))
      parts.emplace(host, *std::move(part));
  }
  return parts;
}

}  // namespace

Totals join_counters(const StatusQueries::Replies& replies) {
  Totals totals;
  for (const auto& [host, reply] : replies) {
    const auto counters = from_message(reply.counters);
    if (!counters) continue;
    totals.counters.add(*counters);
    totals.kvs_bytes = std::max(totals.kvs_bytes, reply.counters.kvs_bytes);
    totals.turns += reply.counters.turns;
  }
  return totals;
}

engine::ProcessGroupStatus join_status(std::uint32_t group, std::vector<engine::RankState> ranks,
                                       const std::vector<std::uint32_t>& places,
                                       const StatusQueries::Replies& replies) {
  engine::ProcessGroupStatus joined;
  joined.ranks = std::move(ranks);
  const auto parts = parts_of(group, places, replies);
  for (const auto& [host, part] : parts) {
    auto state = part.ranks.begin();
    for (std::size_t rank = 0; rank < places.size(); ++rank) {
      if (places[rank] == host) joined.ranks[rank] = *state++;
    }
    joined.barrier.number = std::max(joined.barrier.number, part.barrier.number);
    for (const engine::GroupBarrierStatus& barrier : part.group_barriers) {
      if (joined.group_barriers.size() < engine::kMaxReportedGroupBarriers)
        joined.group_barriers.push_back(barrier);
    }
    joined.open_group_barriers += part.open_group_barriers;
    // Each host has its own keys and, since the last barrier, those of all others.
    joined.kvs_entries = std::max(joined.kvs_entries, part.kvs_entries);
    joined.rejected += part.rejected;
    joined.unidentified += part.unidentified;
  }
  std::vector<bool> inside(places.size());
  bool any = false;
  for (const auto& [host, part] : parts) {
    // A host that is behind will complete its barrier when the release of the others arrives.
    if (part.barrier.number != joined.barrier.number) continue;
    for (const std::uint32_t rank : part.barrier.inside) any = inside[rank] = true;
  }
  if (!any) return joined;
  for (std::uint32_t rank = 0; rank < places.size(); ++rank)
    (inside[rank] ? joined.barrier.inside : joined.barrier.missing).push_back(rank);
  return joined;
}

}  // namespace wireup::runtime
