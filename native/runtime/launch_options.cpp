#include "runtime/launch_options.h"

#include <algorithm>
#include <cerrno>

#include "os/limits.h"
#include "os/start_process.h"

namespace wireup::runtime {
namespace {

// Those that the launcher opens itself: the agent's socket and pidfd, copies of passed ones on their way to
// the agent, and those that Node opens.
constexpr std::size_t kSpareFds = 80;

// Of each rank in its agent: a pidfd, and its PMI connection.
constexpr std::size_t kFdsOfRank = 2;

// Of each rank that its agent is starting: the rank's ends of three pipes and of its PMI connection.
constexpr std::size_t kFdsOfStart = 4;

std::size_t ranks_on_own_host(const GroupOptions& options) {
  if (options.group.nodes.empty()) return options.layout.size();
  std::size_t count = 0;
  for (std::uint32_t rank = 0; rank < options.layout.size(); ++rank) {
    if (options.group.nodes.at(options.layout.place(rank).node).host == wire::agent::kOwnHost) ++count;
  }
  return count;
}

}  // namespace

using wire::agent::OutputMode;
using wire::agent::OutputPlan;

std::vector<os::FdPair> open_output_pipes(std::size_t count) {
  os::make_room_for_fds(2 * count + kSpareFds);
  std::vector<os::FdPair> pipes;
  pipes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) pipes.push_back(os::make_pipe());
  return pipes;
}

void require_fds(const LaunchOptions& options) {
  const std::size_t ranks = ranks_on_own_host(options.group);
  const std::size_t passed = options.passed_fds.size();
  const std::size_t ours = passed + kSpareFds;
  // The agent also holds the read end of each pipe that it reads.
  const auto reads = [&](const OutputPlan& plan) {
    return plan.mode == OutputMode::merge || (plan.mode == OutputMode::file && !options.hello.label.empty());
  };
  const std::size_t agents =
      ranks * (kFdsOfRank + (reads(options.hello.out) ? 1U : 0U) + (reads(options.hello.err) ? 1U : 0U)) +
      std::min(ranks, os::kConcurrentStarts) * kFdsOfStart + passed + kSpareFds;
  const os::FdLimit limit = os::make_room_for_fds(ours);
  const std::size_t here = os::open_fds() + ours;
  const std::size_t needed = std::max(here, agents);
  if (limit.soft >= here && limit.hard >= needed) return;
  throw Error{"ERR_PMI_FD_LIMIT",
              std::to_string(options.group.layout.size()) + " ranks need " + std::to_string(needed) +
                  " open files, but the limit is " + std::to_string(std::min(limit.soft, limit.hard)) +
                  " (hard limit " + std::to_string(limit.hard) +
                  "): raise it with `ulimit -n` or start fewer ranks",
              EMFILE, "setrlimit"};
}

}  // namespace wireup::runtime
