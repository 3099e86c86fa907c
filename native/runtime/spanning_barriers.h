// The barriers of one process group's barrier groups (PMI-1.2) that have ranks on several hosts. The host of
// each rank asks by a BarrierQuery and gets its answer when the barrier is complete, or cannot be completed.
// There is no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "engine/barrier.h"
#include "engine/effects.h"
#include "wire/agent_messages.h"
#include "wire/barrier_group.h"

namespace wireup::runtime {

class SpanningBarriers {
 public:
  // The answers to `query` of its `rank`'s host.
  struct Answer {
    std::uint32_t rank;
    wire::agent::BarrierAnswer message;
  };
  using Answers = std::vector<Answer>;

  // `layout` outlives it.
  SpanningBarriers(std::uint32_t group, const engine::Layout& layout) : group_(group), barriers_(layout) {}

  // The rank has entered a barrier. A query that names no barrier of the rank is ignored: the engine beside
  // the rank has refused it.
  Answers enter(const wire::agent::BarrierQuery& query);
  // The rank has left for good, or has connected again.
  Answers depart(std::uint32_t rank);
  void come_back(std::uint32_t rank) { barriers_.come_back(rank); }
  // The rank's connection has ended: it waits no longer.
  void leave(std::uint32_t rank);

  std::vector<engine::GroupBarrierStatus> status(std::size_t most) const { return barriers_.status(most); }
  std::size_t open() const { return barriers_.open(); }

 private:
  struct Waiting {
    std::uint32_t rank;
    engine::QueryId query;
  };
  // The kind, the tag and the ranks of a barrier group.
  using Key = std::tuple<wire::BarrierGroup::Kind, std::int32_t, std::vector<wire::RankRange>>;

  Answer answer(const Waiting& waiting, bool complete, std::uint32_t gone) const;

  std::uint32_t group_;
  engine::GroupBarriers barriers_;
  std::map<Key, std::vector<Waiting>> waiting_;
};

}  // namespace wireup::runtime
