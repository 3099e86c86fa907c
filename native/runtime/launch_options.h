// What a launch is asked for, and the open files that it needs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/outcome.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/agent_link.h"
#include "runtime/launched_group.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

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
  std::optional<Singleton> singleton = {};
  // The name server that other launches use too; absent: names are known in this launch only.
  std::optional<wire::UnixAddress> name_server;
  // Descriptors of the calling process above 2, which ranks get under the same numbers.
  std::vector<std::int32_t> passed_fds;
  AgentOptions agent;  // its stdout and stderr are set by `pipes`
  // What the agent uses, sent as it is. RankStarter sets `stdin_readers`, and `soft_files` if it is 0.
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

// How many ranks one Start names. The PMI server gets its turn between two of them, and one message can carry
// 253 descriptors.
inline constexpr std::uint32_t kStartBatch = 64;

// Descriptors that a launch needs beside one for each rank: the agent's socket and pidfd, the listener, those
// of a Start that is under way, and those that Node opens.
inline constexpr std::size_t kSpareFds = kStartBatch + 16;

// Makes pipes for OutputPipes; the first of each pair is the calling process's end. Raises the soft limit of
// open files if that helps. Throws os::OsError.
std::vector<os::FdPair> open_output_pipes(std::size_t count);

// Raises the soft limit of open files to what the launch needs. Throws Error (ERR_PMI_FD_LIMIT) if the hard
// limit is too low.
void require_fds(const LaunchOptions& options);

}  // namespace wireup::runtime
