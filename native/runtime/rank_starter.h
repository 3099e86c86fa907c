// Sends the agents what they need to start the ranks of a launch: the plans for their output, the programs,
// and the ranks.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "runtime/hosts.h"
#include "runtime/launch_options.h"
#include "runtime/launched_group.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class RankStarter {
 public:
  // `options` and `hosts` outlive the starter. `size` is that of group 0.
  RankStarter(LaunchOptions& options, Hosts& hosts, std::uint32_t size);

  // The first message to the host's agent; to the launcher's own host also the descriptors that every rank
  // inherits. `group` is the launched one. Throws os::OsError if one of the descriptors is not open.
  void greet(std::uint32_t host, const LaunchedGroup& group);
  // Asks all hosts of the group to start its ranks. A rank whose program has a string that no program can
  // have is not asked for: it has failed to start.
  void start(LaunchedGroup& group);
  // Sends the processes of other hosts to the launcher's own agent, for its MPIR_proctable. All ranks of the
  // group have started.
  void send_processes(const LaunchedGroup& group);

 private:
  // A program, and whether it is started by the debugger.
  using ProgramKey = std::pair<std::uint32_t, bool>;

  void pass_fds();
  ProgramKey program_of(const LaunchedGroup& group, std::uint32_t rank) const;
  void send_program(std::uint32_t host, std::uint32_t id, const LaunchedGroup& group, ProgramKey key);
  void start_on(std::uint32_t host, LaunchedGroup& group);
  void pass_pipes(std::uint32_t host, int stream, std::vector<os::UniqueFd>& pipes,
                  const std::vector<std::uint32_t>& ranks);
  wire::agent::StartRank describe_rank(const LaunchedGroup& group, std::uint32_t rank,
                                       std::vector<os::UniqueFd>& fds);

  LaunchOptions& options_;
  Hosts& hosts_;
  std::uint32_t next_program_ = 0;
  std::vector<bool> debugged_;  // by rank of group 0
};

// The number of PMI_FD in ranks: none of the descriptors in `taken` has it.
int free_channel_fd(const std::vector<std::int32_t>& taken);

}  // namespace wireup::runtime
