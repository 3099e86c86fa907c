// Queries of a job's state, and their replies: barriers, counters, and what the processes of ranks do. See
// wire/agent_messages.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace wireup::wire::agent {

// Asks for a StatusReply with the same number.
struct QueryStatus {
  std::uint32_t id = 0;
};

// Asks what the processes of these ranks do, which are on the receiver's host. The agent sends InspectReplies
// with the same number, one or more.
struct Inspect {
  std::uint32_t id = 0;
  std::uint32_t group = 0;
  std::vector<std::uint32_t> ranks;
  // Between two looks at the processor time. 0: one look, and the reply is sent at once, so before the
  // effects of a later message.
  std::uint32_t interval_ms = 0;
  // For so many of the ranks, the first ones, a debugger of the host shows the stack.
  std::uint32_t stacks = 0;
};

struct BarrierGroupStatus {
  std::int32_t tag = 0;
  std::vector<std::uint32_t> inside;
  std::vector<std::uint32_t> missing;
};

// The state of the ranks of one host in one process group; see engine::ProcessGroupStatus.
struct GroupStatus {
  std::uint32_t group = 0;
  std::vector<std::uint8_t> ranks;  // engine::RankState of its ranks, in the order of ranks
  std::uint64_t barrier = 0;
  std::vector<std::uint32_t> inside;
  std::vector<BarrierGroupStatus> barrier_groups;
  std::uint64_t open_barrier_groups = 0;
  std::uint64_t kvs_entries = 0;
  std::uint64_t rejected = 0;
  std::uint64_t unidentified = 0;
};

// What the PMI servers of one host have counted, those of process groups that are over included; see
// engine::Counters.
struct HostCounters {
  std::vector<std::uint64_t> requests;
  std::vector<std::uint64_t> refused;
  std::uint64_t invalid = 0;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::vector<std::uint64_t> barriers;
  std::uint64_t barrier_time = 0;
  std::uint64_t kvs_bytes = 0;  // of all process groups that the host has
  std::uint64_t turns = 0;      // of the agent's event loop
};

struct StatusReply {
  std::uint32_t id = 0;
  std::vector<GroupStatus> groups;
  HostCounters counters = {};
};

// A rank whose process the agent has started, and which has not ended.
struct InspectedRank {
  std::uint32_t rank = 0;
  std::int32_t pid = 0;
  std::uint8_t pmi = 0;  // engine::RankState
  // The process that does the rank's work, and what it does; see os::ProcessFacts. 0: it cannot be seen.
  std::int32_t worker = 0;
  std::string name = {};
  std::uint8_t state = 0;
  std::string system_call = {};
  std::string file = {};
  std::string wait_channel = {};
  std::uint64_t processor_us = 0;
  // How much of that was in the interval between two looks; 0 of 0 after one look.
  std::uint64_t busy_us = 0;
  std::uint64_t interval_us = 0;
  bool has_stack = false;        // it was asked for
  std::string stack = {};        // the debugger's output, at most kMaxStack bytes
  std::string stack_fault = {};  // for people: why there may be none
};
inline constexpr std::size_t kMaxStack = 32 << 10;
// More than the longest of the other strings, which are a path and a line of text.
inline constexpr std::size_t kMaxInspectedText = 5 << 10;

// In parts. Ranks without such a process are left out.
struct InspectReply {
  std::uint32_t id = 0;
  std::vector<InspectedRank> ranks;
  bool last = true;
};

}  // namespace wireup::wire::agent
