#include "runtime/spanning_barriers.h"

#include "engine/limits.h"
#include "wire/limits.h"

namespace wireup::runtime {

using engine::GroupBarriers;
using wire::BarrierGroup;

SpanningBarriers::Answer SpanningBarriers::answer(const GroupBarriers::Member& member, bool complete,
                                                  std::uint32_t gone) {
  const auto count = waits_.find(member.rank);
  if (count != waits_.end() && --count->second == 0) waits_.erase(count);
  return {member.rank, {.group = group_, .query = member.query, .complete = complete, .gone = gone}};
}

std::optional<SpanningBarriers::Answers> SpanningBarriers::enter(const wire::agent::BarrierQuery& query) {
  if (query.barrier_group.size() > wire::kMaxLine) return std::nullopt;
  const auto barrier = wire::parse_barrier_group(query.barrier_group);
  // The ranks of a node are on one host.
  if (!barrier || barrier->kind == BarrierGroup::Kind::node) return Answers();
  if (const auto count = waits_.find(query.rank);
      count != waits_.end() && count->second >= engine::kMaxDeferred) {
    return std::nullopt;
  }
  const GroupBarriers::Result result = barriers_.enter(query.rank, *barrier, query.query);
  Answers answers;
  switch (result.entry) {
    case GroupBarriers::Entry::waiting:
      ++waits_[query.rank];
      break;
    case GroupBarriers::Entry::complete:
      ++waits_[query.rank];
      for (const GroupBarriers::Member& member : result.released) answers.push_back(answer(member, true, 0));
      break;
    case GroupBarriers::Entry::failed:
      ++waits_[query.rank];
      answers.push_back(answer({query.rank, query.query}, false, result.gone));
      break;
    case GroupBarriers::Entry::not_member:
    case GroupBarriers::Entry::unknown_rank:
    case GroupBarriers::Entry::twice:
      break;
  }
  return answers;
}

SpanningBarriers::Answers SpanningBarriers::depart(std::uint32_t rank) {
  Answers answers;
  for (const GroupBarriers::Failed& failed : barriers_.depart(rank))
    answers.push_back(answer(failed.member, false, rank));
  waits_.erase(rank);
  return answers;
}

void SpanningBarriers::leave(std::uint32_t rank) {
  barriers_.leave(rank);
  waits_.erase(rank);
}

}  // namespace wireup::runtime
