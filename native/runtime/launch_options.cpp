#include "runtime/launch_options.h"

#include <algorithm>
#include <cerrno>

#include "os/limits.h"

namespace wireup::runtime {

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
  const std::size_t ranks = options.group.group.layout.size();
  const std::size_t passed = options.passed_fds.size();
  const std::size_t ours = ranks + passed + kSpareFds;
  // The agent holds a pidfd for each rank, and the read end of each pipe that it reads.
  const auto reads = [&](const OutputPlan& plan) {
    return plan.mode == OutputMode::merge || (plan.mode == OutputMode::file && !options.hello.label.empty());
  };
  const std::size_t agents =
      ranks * (1U + (reads(options.hello.out) ? 1U : 0U) + (reads(options.hello.err) ? 1U : 0U)) + passed +
      kSpareFds;
  const os::FdLimit limit = os::make_room_for_fds(ours);
  const std::size_t here = os::open_fds() + ours;
  const std::size_t needed = std::max(here, agents);
  if (limit.soft >= here && limit.hard >= needed) return;
  throw Error{"ERR_PMI_FD_LIMIT",
              std::to_string(ranks) + " ranks need " + std::to_string(needed) +
                  " open files, but the limit is " + std::to_string(std::min(limit.soft, limit.hard)) +
                  " (hard limit " + std::to_string(limit.hard) +
                  "): raise it with `ulimit -n` or start fewer ranks",
              EMFILE, "setrlimit"};
}

}  // namespace wireup::runtime
