#include "runtime/rank_starter.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "os/error.h"
#include "os/limits.h"
#include "os/message_socket.h"
#include "runtime/rank_environment.h"

namespace wireup::runtime {
namespace {

using namespace wire::agent;

// Descriptors in one PassFds: below the 253 that one message can carry.
constexpr std::size_t kPassBatch = 64;

}  // namespace

int free_channel_fd(const std::vector<std::int32_t>& taken) {
  int fd = kChannelFd;
  while (std::ranges::count(taken, fd) > 0) ++fd;
  return fd;
}

RankStarter::RankStarter(LaunchOptions& options, AgentLink& agent, std::uint32_t size)
    : options_(options), agent_(agent), debugged_(size) {
  for (const std::uint32_t rank : options_.debugged) debugged_.at(rank) = true;
}

void RankStarter::greet() {
  Hello hello = options_.hello;
  hello.stdin_readers = static_cast<std::uint32_t>(std::ranges::count(options_.stdin_readers, true));
  // The kernel's own bound of the limit (fs.nr_open) is below 2^31.
  if (hello.soft_files == 0) hello.soft_files = static_cast<std::uint32_t>(os::unraised_soft_limit());
  agent_.send(std::move(hello));
  pass_fds();
}

void RankStarter::pass_fds() {
  const std::vector<std::int32_t>& numbers = options_.passed_fds;
  for (auto first = numbers.begin(); first != numbers.end();) {
    const auto left = static_cast<std::size_t>(numbers.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(left, kPassBatch));
    std::vector<os::UniqueFd> fds;
    std::for_each(first, last, [&](std::int32_t number) { fds.push_back(os::duplicate(number)); });
    agent_.send(PassFds{{first, last}}, std::move(fds));
    first = last;
  }
}

// Each program has an even number. The same program under the debugger has the next odd one.
std::uint32_t RankStarter::program_of(const LaunchedGroup& group, std::uint32_t rank) const {
  const bool debugged = group.number() == 0 && debugged_[rank];
  return *group.first_program + 2 * group.options().group.layout.place(rank).appnum + (debugged ? 1 : 0);
}

void RankStarter::describe_programs(LaunchedGroup& group) {
  group.first_program = next_program_;
  std::vector<Program> programs = std::move(group.options().programs);
  next_program_ += 2 * static_cast<std::uint32_t>(programs.size());
  // The agent removes the folder if this process is killed.
  if (const std::string folder = group.server().private_folder(); !folder.empty())
    agent_.send(SocketFolder{folder});
  std::uint32_t id = *group.first_program;
  for (Program& program : programs) {
    if (group.number() == 0 && !options_.debugged.empty()) {
      Program debugged = program;
      debugged.prefix.insert(debugged.prefix.begin(), options_.debugger.begin(), options_.debugger.end());
      describe_program(id + 1, std::move(debugged));
    }
    describe_program(id, std::move(program));
    id += 2;
  }
}

void RankStarter::describe_program(std::uint32_t id, Program program) {
  program.id = id;
  std::vector<Program> parts = split(std::move(program), os::kMaxMessage);
  if (parts.empty()) throw os::OsError(E2BIG, "execve");
  for (Program& part : parts) agent_.send(std::move(part));
}

void RankStarter::forget_programs(const LaunchedGroup& group) {
  if (!group.first_program) return;
  const std::uint32_t last = program_of(group, group.size() - 1);
  for (std::uint32_t id = *group.first_program; id <= last; id += 2) agent_.send(Start{id, {}, true});
}

void RankStarter::start_batch(LaunchedGroup& group) {
  const std::uint32_t first = group.asked();
  try {
    send_batch(group);
  } catch (const std::exception& error) {
    if (group.asked() == first) group.ask();
    // The last one is the rank that could not be described; the first report is the one that counts.
    for (std::uint32_t rank = group.asked(); rank-- > first;)
      group.start_failed(rank, errno_of(error), describe(error), false);
  }
}

void RankStarter::send_batch(LaunchedGroup& group) {
  Start start{program_of(group, group.asked()), {}};
  std::vector<os::UniqueFd> fds;
  const std::uint32_t last = std::min(group.size(), group.asked() + kStartBatch);
  // A batch has one program, so it ends where the program changes.
  while (group.asked() < last && program_of(group, group.asked()) == start.program) {
    const std::uint32_t rank = group.asked();
    group.ask();
    start.ranks.push_back(describe_rank(group, rank, fds));
  }
  // In group 0, ranks under a debugger have programs of their own among the others.
  start.last =
      group.number() != 0 && (group.all_asked() || program_of(group, group.asked()) != start.program);
  agent_.send(std::move(start), std::move(fds));
}

StartRank RankStarter::describe_rank(LaunchedGroup& group, std::uint32_t rank,
                                     std::vector<os::UniqueFd>& fds) {
  StartRank result = group.describe(rank, fds);
  if (group.number() != 0) return result;
  const auto attach = [&](std::vector<os::UniqueFd>& pipes, int number) {
    if (pipes.empty()) return;
    fds.push_back(std::move(pipes[rank]));
    result.fds.push_back(number);
  };
  attach(options_.pipes.rank_out, STDOUT_FILENO);
  attach(options_.pipes.rank_err, STDERR_FILENO);
  result.reads_stdin = !options_.stdin_readers.empty() && options_.stdin_readers[rank];
  result.silent = !options_.silent.empty() && options_.silent[rank];
  return result;
}

}  // namespace wireup::runtime
