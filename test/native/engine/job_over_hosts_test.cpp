#include "engine/job_over_hosts.h"

#include <doctest/doctest.h>

#include <random>

namespace wireup::test {
namespace {

// Trees of depth 1 and 2. In some, a host has no ranks, or the ranks are in one part of the tree only.
const std::vector<std::vector<HostPlan>> kTrees = {
    {{0, 3}, {0, 3}},
    {{0, 1}, {0, 2}, {0, 1}, {0, 3}},
    {{0, 0}, {0, 2}, {0, 2}},
    {{0, 2}, {0, 1}, {1, 2}, {1, 3}, {0, 1}, {4, 2}},
    {{0, 0}, {0, 0}, {1, 2}, {1, 2}, {0, 0}},
    {{0, 1}, {0, 0}, {1, 3}},
};

JobOverHosts::Pick at_random(std::mt19937& random) {
  return [&random](std::size_t count) { return random() % count; };
}

void check_no_errors(const JobOverHosts& job) {
  for (const std::string& error : job.errors()) FAIL_CHECK(error);
}

// Whether messages of the group cross the edge between the host and its parent.
bool is_used(const std::vector<HostPlan>& tree, std::uint32_t host) {
  std::uint32_t all = 0;
  std::uint32_t below = 0;
  for (std::uint32_t other = 0; other < tree.size(); ++other) {
    std::uint32_t ancestor = other;
    while (ancestor != host && ancestor != 0) ancestor = tree[ancestor].parent;
    all += tree[other].ranks;
    if (ancestor == host) below += tree[other].ranks;
  }
  return below > 0 && below < all;
}

TEST_CASE("job over hosts: every rank gets every key, in any order of delivery, by one message up and down") {
  constexpr std::uint32_t kRounds = 6;
  for (const auto& tree : kTrees) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      CAPTURE(&tree - kTrees.data());
      CAPTURE(seed);
      std::mt19937 random(seed);
      JobOverHosts job({.hosts = tree, .rounds = kRounds});
      job.finish(at_random(random));
      check_no_errors(job);
      for (std::uint32_t rank = 0; rank < job.size(); ++rank) CHECK(job.is_done(rank));
      CHECK(job.failed_group_barriers() == 0);
      CHECK(job.group_barriers() == kRounds * ((job.size() + 1) / 3));
      for (std::uint32_t host = 0; host < tree.size(); ++host) {
        CHECK(job.stuck(host) == 0);
        if (job.group(host) != nullptr) CHECK(job.group(host)->barrier().number() == kRounds);
        JobOverHosts::Counts expected;
        for (std::uint64_t round = 0; round < kRounds && host != 0 && is_used(tree, host); ++round)
          expected[round] = 1;
        CHECK(job.fences(host) == expected);
        CHECK(job.releases(host) == expected);
      }
    }
  }
}

TEST_CASE("job over hosts: keys arrive in parts") {
  std::mt19937 random(1);
  JobOverHosts job({.hosts = kTrees[3], .part = 40});
  job.finish(at_random(random));
  check_no_errors(job);
  for (std::uint32_t rank = 0; rank < job.size(); ++rank) CHECK(job.is_done(rank));
}

// Ranks that wait are stuck, and no rank waits in the barrier of a barrier group.
void check_end(const JobOverHosts& job, const std::vector<HostPlan>& tree) {
  check_no_errors(job);
  for (std::uint32_t host = 0; host < tree.size(); ++host) {
    const engine::ProcessGroup* group = job.group(host);
    if (group == nullptr || job.is_lost(host)) continue;
    const auto inside = group->status().barrier.inside;
    // A host that was lost after its ranks had entered the last barrier is reported too.
    CHECK(job.stuck(host) <= 1);
    if (!inside.empty()) CHECK(job.stuck(host) == 1);
    for (std::uint32_t rank = 0; rank < job.size(); ++rank) {
      if (job.host_of(rank) == host) CHECK(job.is_done(rank) != (std::ranges::count(inside, rank) > 0));
    }
  }
}

TEST_CASE("job over hosts: a host is lost at any point, and the ranks that wait for it are stuck") {
  for (const auto& tree : kTrees) {
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
      CAPTURE(&tree - kTrees.data());
      CAPTURE(seed);
      std::mt19937 random(seed);
      JobOverHosts job({.hosts = tree, .rounds = 4, .part = 100});
      const auto victim = static_cast<std::uint32_t>(1 + random() % (tree.size() - 1));
      for (std::size_t steps = random() % 1000; steps > 0; --steps) job.deliver(at_random(random));
      job.lose(victim);
      job.finish(at_random(random));
      check_end(job, tree);
    }
  }
}

TEST_CASE("job over hosts: a rank leaves early, and the ranks that wait for it are stuck") {
  for (const auto& tree : kTrees) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      CAPTURE(&tree - kTrees.data());
      CAPTURE(seed);
      std::mt19937 random(seed);
      JobPlan plan{.hosts = tree, .rounds = 3};
      plan.quitter = 1;
      plan.quits_after = seed % 3;
      JobOverHosts job(plan);
      job.finish(at_random(random));
      check_end(job, tree);
      for (std::uint32_t rank = 0; rank < job.size(); ++rank) CHECK(job.is_done(rank) == (rank == 1));
    }
  }
}

TEST_CASE("job over hosts: an agent that sends invalid messages spoils no barrier of the others") {
  const std::string valid("\1\0\0\0k\1\0\0\0v", 10);
  const struct {
    bool upward;
    std::uint64_t barrier;
    std::string keys;
    bool last;
  } rows[] = {
      {true, 1, "", true},
      {true, 0, "x", true},
      {true, 0, valid + std::string("\0\0\0\0\0\0\0\0", 8), false},
      {true, 0, "", true},  // its real fence is then the second one
      {false, 0, valid, true},
      {false, 1, valid, true},
      {false, 0, valid.substr(1), false},
  };
  for (const auto& row : rows) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      CAPTURE(&row - &rows[0]);
      CAPTURE(seed);
      std::mt19937 random(seed);
      JobOverHosts job({.hosts = kTrees[1], .rounds = 4});
      job.inject(2, row.upward, row.barrier, row.keys, row.last);
      job.finish(at_random(random));
      check_no_errors(job);
      CHECK(job.is_lost(2));
      CHECK_FALSE(job.is_lost(0));
      CHECK_FALSE(job.is_lost(1));
      CHECK_FALSE(job.is_lost(3));
    }
  }
}

}  // namespace
}  // namespace wireup::test
