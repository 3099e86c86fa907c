// The barriers of one process group's barrier groups (PMI-1.2) that have ranks on several hosts. The host of
// each rank asks by a BarrierQuery and gets its answer when the barrier is complete, or cannot be completed.
// There is no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
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
  // the rank has refused it. Returns nothing if the engine would not have let the rank enter one more barrier
  // (engine::kMaxDeferred), or such a long name of a group; nothing has changed then.
  std::optional<Answers> enter(const wire::agent::BarrierQuery& query);
  // The rank has left for good, or has connected again.
  Answers depart(std::uint32_t rank);
  void come_back(std::uint32_t rank) { barriers_.come_back(rank); }
  // The rank's connection has ended: it waits no longer.
  void leave(std::uint32_t rank);

  std::vector<engine::GroupBarrierStatus> status(std::size_t most) const { return barriers_.status(most); }
  std::size_t open() const { return barriers_.open(); }

 private:
  // The rank waits in one barrier less.
  Answer answer(const engine::GroupBarriers::Member& member, bool complete, std::uint32_t gone);

  std::uint32_t group_;
  engine::GroupBarriers barriers_;
  std::unordered_map<std::uint32_t, std::size_t> waits_;  // how many barriers each rank waits in
};

}  // namespace wireup::runtime
