// Group barriers against a model that is as plain as can be.
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

// Who belongs to a barrier, who is in it, and whether a member is gone.
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
      // Of one node only, as this model knows a barrier by its number.
      const std::uint32_t node = random() % (kMembers / kPerNode);
      for (std::uint32_t i = 0; i < kPerNode; ++i) barrier.members.insert(node * kPerNode + i);
      barrier.group = group_of("NODE" + ending);
    } else {
      const std::uint32_t size = 1 + random() % 12;
      std::vector<std::uint32_t> said;
      while (barrier.members.size() < size) {
        said.push_back(random() % kMembers);
        barrier.members.insert(said.back());
      }
      std::string text;
      for (const std::uint32_t rank : said) text += (text.empty() ? "" : ",") + std::to_string(rank);
      barrier.group = group_of(text + ending);
    }
    return barrier;
  }

  std::vector<ModelBarrier> barriers_;
};

TEST_CASE(
    "a thousand overlapping groups: nobody leaves early, nobody is forgotten, the gone fail their own") {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U}) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const Layout layout = Layout::by_node(kMembers, kPerNode);
    GroupBarriers barriers(layout);
    Model model(random);

    // Every member of every group enters once, in one random order, and a few ranks go in between.
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
        std::vector<std::pair<std::uint32_t, std::int32_t>> told;
        for (const auto& [rank, tag] : barriers.depart(gone)) told.emplace_back(rank, tag);
        std::vector<std::pair<std::uint32_t, std::int32_t>> expected;
        for (ModelBarrier& barrier : model.barriers()) {
          if (!barrier.members.contains(gone)) continue;
          for (const std::uint32_t rank : barrier.inside) {
            if (rank != gone) expected.emplace_back(rank, barrier.tag);
          }
          barrier.inside.clear();
        }
        std::ranges::sort(told);
        std::ranges::sort(expected);
        CHECK(told == expected);
        failed += told.size();
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
        CHECK(RankSet(result.released.begin(), result.released.end()) == barrier.members);
        barrier.inside.clear();
        ++completed;
      } else {
        CHECK(result.entry == Entry::waiting);
        CHECK(result.released.empty());
      }
    }
    // Who is still inside waits for one that has left the job, and has been told; nobody else is left.
    for (const ModelBarrier& barrier : model.barriers()) CHECK(barrier.inside.empty());
    CHECK(completed > 100);
    CHECK(failed > 0);
  }
}

TEST_CASE("a group is entered by its members, once, and begins anew") {
  const Layout layout = Layout::by_node(4, 2);
  GroupBarriers barriers(layout);
  CHECK(barriers.enter(3, group_of("0,1")).entry == Entry::not_member);
  CHECK(barriers.enter(0, group_of("0,4")).entry == Entry::no_rank);
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

TEST_CASE("one that leaves and may come back is waited for") {
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
