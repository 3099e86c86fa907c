// Compares GroupBarriers with a simple model.
#include "engine/barrier.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace wireup::engine {
namespace {

using RankSet = std::set<std::uint32_t>;
using Entry = GroupBarriers::Entry;

constexpr std::uint32_t kMembers = 64;
constexpr std::uint32_t kPerNode = 8;

wire::BarrierGroup group_of(const std::string& text) { return *wire::parse_barrier_group(text); }

// The members of a barrier and the ranks inside it.
struct ModelBarrier {
  wire::BarrierGroup group;
  std::int32_t tag;
  RankSet members;
  RankSet inside = {};
};

class Model {
 public:
  explicit Model(std::mt19937& random) {
    for (std::int32_t number = 0; number < 1000; ++number) barriers_.push_back(make(random, number));
  }

  std::vector<ModelBarrier>& barriers() { return barriers_; }
  RankSet gone;

 private:
  static ModelBarrier make(std::mt19937& random, std::int32_t tag) {
    const std::string ending = ":" + std::to_string(tag);
    const std::uint32_t kind = random() % 10;
    ModelBarrier barrier{{}, tag, {}};
    if (kind == 0) {
      for (std::uint32_t rank = 0; rank < kMembers; ++rank) barrier.members.insert(rank);
      barrier.group = group_of("WORLD" + ending);
    } else if (kind == 1) {
      // One node only, because the model identifies a barrier by its tag.
      const std::uint32_t node = random() % (kMembers / kPerNode);
      for (std::uint32_t i = 0; i < kPerNode; ++i) barrier.members.insert(node * kPerNode + i);
      barrier.group = group_of("NODE" + ending);
    } else {
      const std::uint32_t size = 1 + random() % 12;
      std::vector<std::uint32_t> ranks;
      while (barrier.members.size() < size) {
        ranks.push_back(random() % kMembers);
        barrier.members.insert(ranks.back());
      }
      std::string text;
      for (const std::uint32_t rank : ranks) text += (text.empty() ? "" : ",") + std::to_string(rank);
      barrier.group = group_of(text + ending);
    }
    return barrier;
  }

  std::vector<ModelBarrier> barriers_;
};

TEST_CASE("group barriers: 1000 overlapping groups complete or fail as the model does") {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U}) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const Layout layout = Layout::by_node(kMembers, kPerNode);
    GroupBarriers barriers(layout);
    Model model(random);

    // Every member of every group enters once, in random order. A few ranks leave in between.
    struct Step {
      std::uint32_t rank;
      std::size_t barrier;
    };
    std::vector<Step> steps;
    for (std::size_t i = 0; i < model.barriers().size(); ++i) {
      for (const std::uint32_t rank : model.barriers()[i].members) steps.push_back({rank, i});
    }
    std::shuffle(steps.begin(), steps.end(), random);
    RankSet out_of_one;
    std::size_t completed = 0;
    std::size_t failed = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (i % (steps.size() / 5) == steps.size() / 10) {
        const std::uint32_t gone = random() % kMembers;
        std::vector<std::pair<std::uint32_t, std::int32_t>> notified;
        for (const auto& [member, tag] : barriers.depart(gone)) notified.emplace_back(member.rank, tag);
        std::vector<std::pair<std::uint32_t, std::int32_t>> expected;
        for (ModelBarrier& barrier : model.barriers()) {
          if (!barrier.members.contains(gone)) continue;
          for (const std::uint32_t rank : barrier.inside) {
            if (rank != gone) expected.emplace_back(rank, barrier.tag);
          }
          barrier.inside.clear();
        }
        std::ranges::sort(notified);
        std::ranges::sort(expected);
        CHECK(notified == expected);
        failed += notified.size();
        model.gone.insert(gone);
      }
      const auto [rank, which] = steps[i];
      if (model.gone.contains(rank)) continue;
      ModelBarrier& barrier = model.barriers()[which];
      const GroupBarriers::Result result = barriers.enter(rank, barrier.group);
      RankSet missing;
      std::ranges::set_intersection(barrier.members, model.gone, std::inserter(missing, missing.end()));
      if (!missing.empty()) {
        CHECK(result.entry == Entry::failed);
        CHECK(missing.contains(result.gone));
        continue;
      }
      barrier.inside.insert(rank);
      if (barrier.inside == barrier.members) {
        CHECK(result.entry == Entry::complete);
        RankSet released;
        for (const GroupBarriers::Member& member : result.released) released.insert(member.rank);
        CHECK(released == barrier.members);
        barrier.inside.clear();
        ++completed;
      } else {
        CHECK(result.entry == Entry::waiting);
        CHECK(result.released.empty());
      }
    }
    // Every barrier has completed, or has failed because a member has left.
    for (const ModelBarrier& barrier : model.barriers()) CHECK(barrier.inside.empty());
    CHECK(completed > 100);
    CHECK(failed > 0);
  }
}

TEST_CASE("group barriers: each member enters once, and the barrier can be repeated") {
  const Layout layout = Layout::by_node(4, 2);
  GroupBarriers barriers(layout);
  CHECK(barriers.enter(3, group_of("0,1")).entry == Entry::not_member);
  CHECK(barriers.enter(0, group_of("0,4")).entry == Entry::unknown_rank);
  CHECK(barriers.enter(0, group_of("0,1")).entry == Entry::waiting);
  CHECK(barriers.enter(0, group_of("1,0")).entry == Entry::twice);
  CHECK(barriers.enter(0, group_of("0-1:1")).entry == Entry::waiting);
  CHECK(barriers.enter(0, group_of("NODE")).entry == Entry::waiting);
  CHECK(barriers.enter(1, group_of("0-1")).entry == Entry::complete);
  CHECK(barriers.enter(1, group_of("0-1")).entry == Entry::waiting);
  CHECK(barriers.enter(2, group_of("NODE")).entry == Entry::waiting);
  CHECK(barriers.enter(1, group_of("NODE")).entry == Entry::complete);
  CHECK(barriers.enter(2, group_of("2")).entry == Entry::complete);
}

TEST_CASE("group barriers: a barrier waits for a rank that may come back") {
  const Layout layout = Layout::single_node(2);
  GroupBarriers barriers(layout);
  CHECK(barriers.enter(0, group_of("0,1")).entry == Entry::waiting);
  barriers.leave(0);
  CHECK(barriers.enter(1, group_of("0,1")).entry == Entry::waiting);
  CHECK(barriers.enter(0, group_of("0,1")).entry == Entry::complete);
  CHECK(barriers.depart(1).empty());
  CHECK(barriers.enter(0, group_of("WORLD:1")).entry == Entry::failed);
  barriers.come_back(1);
  CHECK(barriers.enter(0, group_of("WORLD:1")).entry == Entry::waiting);
}

}  // namespace
}  // namespace wireup::engine
