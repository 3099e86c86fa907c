// The simulation of a fence: what it counts is what each host of the tree must send and receive.
#include "tools/bench/fence_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

namespace wireup::bench {
namespace {

constexpr std::size_t kValue = 100;
// Two lengths of four bytes, the key card-000000, the value.
constexpr std::size_t kEntry = 8 + 11 + kValue;

// The tree, made again host by host.
struct Tree {
  Tree(std::uint32_t hosts, std::uint32_t width) : children(hosts), below(hosts, 1), depth(hosts, 0) {
    const std::uint32_t most = width == 0 ? hosts : width;
    for (std::uint32_t host = 1; host < hosts; ++host) {
      const std::uint32_t parent = (host - 1) / most;
      ++children[parent];
      depth[host] = depth[parent] + 1;
    }
    for (std::uint32_t host = hosts; --host > 0;) below[(host - 1) / most] += below[host];
  }
  std::vector<std::uint32_t> children;
  std::vector<std::uint32_t> below;
  std::vector<std::uint32_t> depth;
};

// The least depth of a tree of so many hosts, if the root could be one of the leaves.
std::uint32_t ceil_log(std::uint32_t width, std::uint32_t hosts) {
  std::uint32_t depth = 0;
  for (std::uint64_t reached = 1; reached < hosts; reached *= width) ++depth;
  return depth;
}

TEST_CASE("fence model: the root has at most `width` messages in and out, and the depth is logarithmic") {
  for (const std::uint32_t width : {2U, 3U, 8U, 32U}) {
    for (const std::uint32_t hosts : {1U, 2U, 3U, 31U, 32U, 33U, 34U, 64U, 100U, 256U, 1000U, 1024U, 1057U}) {
      CAPTURE(width);
      CAPTURE(hosts);
      const Tree tree(hosts, width);
      const FenceCost cost = simulate_fence({.hosts = hosts, .width = width, .bytes = 0});
      CHECK(cost.root.messages_in == tree.children[0]);
      CHECK(cost.root.messages_out == tree.children[0]);
      CHECK(cost.root.messages_in <= width);
      CHECK(cost.depth == std::ranges::max(tree.depth));
      CHECK(cost.depth <= ceil_log(width, hosts));
      // Without puts there are no keys.
      CHECK(cost.root.bytes_in + cost.root.bytes_out + cost.inner.bytes_in + cost.leaf.bytes_in == 0);
    }
  }
}

TEST_CASE("fence model: bytes, processor time and depth are those of the hosts one by one") {
  for (const std::uint32_t width : {0U, 1U, 2U, 5U, 32U}) {
    for (const std::uint32_t hosts : {2U, 3U, 7U, 8U, 40U, 150U}) {
      CAPTURE(width);
      CAPTURE(hosts);
      const Tree tree(hosts, width);
      const FencePlan plan{
          .hosts = hosts,
          .width = width,
          .bytes = kValue,
          .costs = {.fence = 1000, .message = 10, .receive = 1, .send = 2, .store = 3, .bytes_per_ns = 1e9}};
      const FenceCost cost = simulate_fence(plan);
      CHECK(cost.depth == std::ranges::max(tree.depth));
      // Every edge carries the keys of all hosts once: those below it up, and the others down.
      CHECK(cost.root.bytes_in == (hosts - 1) * kEntry);
      std::uint64_t out = 0;
      for (std::uint32_t host = 1; host < hosts; ++host) {
        if (tree.depth[host] == 1) out += (hosts - tree.below[host]) * kEntry;
      }
      CHECK(cost.root.bytes_out == out);
      const double edges = 2.0 * (hosts - 1);  // with a message at each end
      const double all = hosts * plan.costs.fence + 2 * (edges * plan.costs.message) +
                         (plan.costs.receive + plan.costs.send + plan.costs.store) * (hosts - 1) *
                             static_cast<double>(hosts * kEntry);
      CHECK(cost.processor == doctest::Approx(all));
      CHECK(cost.wall >= cost.root.processor);
    }
  }
}

TEST_CASE("fence model: the time of one edge is added up") {
  const FencePlan plan{.hosts = 2,
                       .width = 2,
                       .bytes = kValue,
                       .costs = {.fence = 1000,
                                 .message = 100,
                                 .receive = 2,
                                 .send = 3,
                                 .store = 4,
                                 .latency = 5000,
                                 .bytes_per_ns = 0.5}};
  const double in = 100 + 2.0 * kEntry;
  const double out = 100 + 3.0 * kEntry;
  const double wire = 5000 + kEntry / 0.5;
  // The child's own ranks, its fence, the way, the root, the way back, the child.
  CHECK(simulate_fence(plan).wall ==
        doctest::Approx(1000 + out + wire + in + out + wire + in + 4.0 * kEntry));
  CHECK(simulate_fence({.hosts = 1, .width = 2, .bytes = kValue, .costs = plan.costs}).wall == 1000);
}

TEST_CASE("fence model: a tree of 100,000 hosts") {
  const FenceCost cost = simulate_fence({.hosts = 100'000, .width = 32, .bytes = 8});
  CHECK(cost.depth == 4);
  // A message has at most 64 KiB of keys.
  CHECK(cost.root.messages_in >= 32);
  CHECK(cost.root.messages_in <= 32 + cost.root.bytes_in / 65536);
  CHECK(cost.leaf.bytes_in == 99'999 * (kEntry - kValue + 8));
}

}  // namespace
}  // namespace wireup::bench
