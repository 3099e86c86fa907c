// What a launch is asked for, and the open files that it needs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/effects.h"
#include "engine/layout.h"
#include "engine/outcome.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/agent_link.h"
#include "runtime/error.h"
#include "wire/address.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

// A host of the launch. Its number is its place in LaunchOptions::hosts.
struct HostOptions {
  std::string name;  // empty: the name that its kernel has
  // Starts its agent; see wire::agent::StartHost. Not used for the launcher's own host.
  std::vector<std::string> command = {};
  std::string stage = {};
  std::uint32_t timeout_ms = 0;
  bool same_host = false;
};

// One command that starts the agents of all hosts of the first process group; see wire::agent::StartTogether.
struct TogetherOptions {
  std::vector<std::string> command;
  std::string iface = {};
  bool insecure = false;
};

struct GroupOptions {
  engine::Layout layout = engine::Layout::single_node(1);
  // What the agents get. LaunchDriver sets `number`, `first_task`, `layout` and `channel_fd`. `nodes` may be
  // empty: all nodes are on the launcher's own host.
  wire::agent::Group group;
  std::vector<wire::agent::Program> programs;  // by appnum
};

// The rank that asked for a process group.
struct Spawner {
  engine::QueryId query = 0;
  // Part of the answer when all ranks of the new group have been started.
  std::vector<std::int32_t> errcodes = {};
};

// Write ends of pipes that the calling process reads. They replace the agent's stdout and stderr, or those of
// the ranks.
struct OutputPipes {
  os::UniqueFd out;
  os::UniqueFd err;
  std::vector<os::UniqueFd> rank_out;  // by rank, or empty
  std::vector<os::UniqueFd> rank_err;  // by rank, or empty
};

// A program that runs and becomes rank 0 of 1, instead of a rank to start: see runtime/singleton.h. It has
// ended when its connection has.
struct Singleton {
  std::uint16_t port = 0;
  std::int32_t pid = 0;
};

struct LaunchOptions {
  GroupOptions group;
  // By number; the first is the launcher's own. Empty: only that one.
  std::vector<HostOptions> hosts;
  std::vector<std::string> host_environment;  // of the commands of hosts
  std::uint32_t tree_width = 0;               // see Hosts
  std::optional<TogetherOptions> together = {};
  std::optional<Singleton> singleton = {};
  // The name server that other launches use too; absent: names are known in this launch only.
  std::optional<wire::UnixAddress> name_server;
  // Descriptors of the calling process above 2, which ranks of its host get under the same numbers.
  std::vector<std::int32_t> passed_fds;
  AgentOptions agent;  // its stdout and stderr are set by `pipes`
  // What the agents use. RankStarter sets what differs from host to host, and `soft_files` if it is 0.
  wire::agent::Hello hello;
  std::vector<bool> stdin_readers;  // by rank: whether it reads the agent's stdin; empty: none does
  std::vector<bool> silent;         // by rank: whether its output is discarded; empty: none's is
  OutputPipes pipes;
  // Put before the program of the ranks in `debugged`. Empty: no debugger.
  std::vector<std::string> debugger;
  std::vector<std::uint32_t> debugged;
  engine::OutcomePolicy policy;
  std::chrono::milliseconds grace{5000};  // between TERM and KILL
  // Limits from the launch on; zero: none. The first is for the job, the second for the time until every rank
  // has sent init and has left its first barrier.
  std::chrono::milliseconds timeout{0};
  std::chrono::milliseconds startup_timeout{0};
  os::Reactor::Clock::time_point begin = os::Reactor::Clock::now();  // the zero of all times of the launch
};

// The process group that a rank asks for.
struct SpawnOptions {
  Spawner spawner;
  GroupOptions group;
};

// Makes pipes for OutputPipes; the first of each pair is the calling process's end. Raises the soft limit of
// open files if that helps. Throws os::OsError.
std::vector<os::FdPair> open_output_pipes(std::size_t count);

// Raises the soft limit of open files to what the launcher needs. Throws Error (ERR_PMI_FD_LIMIT) if the hard
// limit is too low for the launcher, or for the agent of its host.
void require_fds(const LaunchOptions& options);

}  // namespace wireup::runtime
