#include "runtime/spanning_barriers.h"

#include <algorithm>
#include <utility>

namespace wireup::runtime {
namespace {

using wire::BarrierGroup;

bool contains(const std::vector<wire::RankRange>& ranges, std::uint32_t rank) {
  return std::ranges::any_of(
      ranges, [rank](const wire::RankRange& range) { return range.first <= rank && rank <= range.last; });
}

}  // namespace

SpanningBarriers::Answer SpanningBarriers::answer(const Waiting& waiting, bool complete,
                                                  std::uint32_t gone) const {
  return {waiting.rank, {.group = group_, .query = waiting.query, .complete = complete, .gone = gone}};
}

SpanningBarriers::Answers SpanningBarriers::enter(const wire::agent::BarrierQuery& query) {
  auto barrier = wire::parse_barrier_group(query.barrier_group);
  // The ranks of a node are on one host.
  if (!barrier || barrier->kind == BarrierGroup::Kind::node) return {};
  const engine::GroupBarriers::Result result = barriers_.enter(query.rank, *barrier);
  Key key{barrier->kind, barrier->tag, std::move(barrier->ranks)};
  const Waiting own{query.rank, query.query};
  Answers answers;
  switch (result.entry) {
    case engine::GroupBarriers::Entry::waiting:
      waiting_[std::move(key)].push_back(own);
      break;
    case engine::GroupBarriers::Entry::complete:
      answers.push_back(answer(own, true, 0));
      if (const auto others = waiting_.extract(key)) {
        for (const Waiting& waiting : others.mapped()) answers.push_back(answer(waiting, true, 0));
      }
      break;
    case engine::GroupBarriers::Entry::failed:
      answers.push_back(answer(own, false, result.gone));
      break;
    case engine::GroupBarriers::Entry::not_member:
    case engine::GroupBarriers::Entry::unknown_rank:
    case engine::GroupBarriers::Entry::twice:
      break;
  }
  return answers;
}

SpanningBarriers::Answers SpanningBarriers::depart(std::uint32_t rank) {
  barriers_.depart(rank);
  Answers answers;
  std::erase_if(waiting_, [&](const auto& entry) {
    const auto& [kind, tag, ranks] = entry.first;
    if (kind != BarrierGroup::Kind::world && !contains(ranks, rank)) return false;
    for (const Waiting& waiting : entry.second) {
      if (waiting.rank != rank) answers.push_back(answer(waiting, false, rank));
    }
    return true;
  });
  return answers;
}

void SpanningBarriers::leave(std::uint32_t rank) {
  barriers_.leave(rank);
  for (auto entry = waiting_.begin(); entry != waiting_.end();) {
    std::erase_if(entry->second, [rank](const Waiting& waiting) { return waiting.rank == rank; });
    entry = entry->second.empty() ? waiting_.erase(entry) : std::next(entry);
  }
}

}  // namespace wireup::runtime
