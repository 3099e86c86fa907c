// Sends the agent what it needs to start the ranks of a launch: the plans for their output, the programs, and
// the ranks in batches. The next batch is sent when the agent has answered for the last one: its descriptors
// have then left the socket's queue, and PMI traffic is served between two batches.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <vector>

#include "os/fd.h"
#include "runtime/agent_link.h"
#include "runtime/launch_options.h"
#include "runtime/launched_group.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class RankStarter {
 public:
  // `options` and `agent` outlive the starter. `size` is that of group 0.
  RankStarter(LaunchOptions& options, AgentLink& agent, std::uint32_t size);

  // The first messages: the plans, and the descriptors that every rank inherits. Throws os::OsError if one of
  // the descriptors is not open.
  void greet();
  // The programs of the process group. Throws os::OsError if a string is too long for any program.
  void describe_programs(LaunchedGroup& group);
  // Lets the agent forget the programs of a spawned group that cannot be started. It forgets other programs
  // with their last rank.
  void forget_programs(const LaunchedGroup& group);
  // The next batch of ranks of the group. If it cannot be sent, the ranks of the batch have failed to start.
  void start_batch(LaunchedGroup& group);

 private:
  void pass_fds();
  void describe_program(std::uint32_t id, wire::agent::Program program);
  std::uint32_t program_of(const LaunchedGroup& group, std::uint32_t rank) const;
  void send_batch(LaunchedGroup& group);
  wire::agent::StartRank describe_rank(LaunchedGroup& group, std::uint32_t rank,
                                       std::vector<os::UniqueFd>& fds);

  LaunchOptions& options_;
  AgentLink& agent_;
  std::uint32_t next_program_ = 0;
  std::vector<bool> debugged_;  // by rank of group 0
};

// The number of PMI_FD in ranks: none of the descriptors in `taken` has it.
int free_channel_fd(const std::vector<std::int32_t>& taken);

}  // namespace wireup::runtime
