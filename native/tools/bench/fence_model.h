// A simulation of one fence of many hosts: what it takes, and what each host sends and receives.
//
// The hosts are a tree as the launcher makes it: the parent of host n is (n - 1) / width. Each host has an
// engine::Exchange, which gets real keys and makes the real messages. A clock adds up
// - the processor time of each host's agent, which handles one message at a time, and
// - the links: each host sends one byte after the other, and receives so; each byte arrives after the
// latency. All ranks enter the fence at time 0.
//
// Two subtrees with the same number of hosts have the same shape, and what happens below their tops takes the
// same time. So the simulation has one subtree of each size, not each host: dozens instead of 100,000.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wireup::bench {

struct FenceCosts {
  // Processor time of an agent, in nanoseconds.
  double fence = 0;    // for its own ranks
  double message = 0;  // each that it receives or sends
  double receive = 0;  // each byte of keys that it receives
  double send = 0;     // each byte of keys that it sends
  double store = 0;    // each byte of the keys of other hosts that it keeps for its ranks
  // Links.
  double latency = 0;       // in nanoseconds
  double bytes_per_ns = 1;  // of each host, in each direction
};

struct FencePlan {
  std::uint32_t hosts = 1;
  std::uint32_t width = 0;  // children of a host at most; 0: all hosts are children of host 0
  std::size_t bytes = 0;    // of the value that each host puts; 0: no host puts
  FenceCosts costs = {};
};

struct NodeCost {
  std::uint64_t messages_in = 0;
  std::uint64_t messages_out = 0;
  std::uint64_t bytes_in = 0;  // of keys and values
  std::uint64_t bytes_out = 0;
  double processor = 0;  // in nanoseconds
};

struct FenceCost {
  double wall = 0;          // until the last host is released, in nanoseconds
  double processor = 0;     // of all hosts
  std::uint32_t depth = 0;  // edges from the root to the deepest host
  NodeCost root = {};
  NodeCost inner = {};  // the host with the most processor time that has a parent and children
  NodeCost leaf = {};   // the one with the most that has no children
};

// Throws std::logic_error if an Exchange refuses what it gets.
FenceCost simulate_fence(const FencePlan& plan);

}  // namespace wireup::bench
