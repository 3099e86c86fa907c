#include "runtime/rank_starter.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <variant>

#include "os/error.h"
#include "os/inherited_limits.h"
#include "os/limits.h"
#include "os/message_socket.h"
#include "runtime/nanoseconds.h"
#include "runtime/rank_environment.h"

namespace wireup::runtime {
namespace {

using namespace wire::agent;

// Descriptors in one PassFds or TaskPipes: below the 253 that one message can carry.
constexpr std::size_t kPassBatch = 64;

// A rank has at most two descriptors of its own, for stdout and stderr.
constexpr std::size_t kMaxFdsPerRank = 2;

// Ranks in one Start: some 100 KiB.
constexpr std::size_t kMaxRanksPerStart = 4096;

// Bytes of one part of a program. A single string of a program may have 128 KiB (MAX_ARG_STRLEN).
constexpr std::size_t kMaxProgramPart = 1 << 20;

// The agent of another host is started in another directory. Throws OsError if this process's own directory
// has been removed.
std::string absolute(const std::string& directory) {
  try {
    return directory.empty() ? std::filesystem::current_path() : std::filesystem::absolute(directory);
  } catch (const std::filesystem::filesystem_error& error) {
    throw os::OsError(error.code().value(), "getcwd", "(the folder in which the launcher was started)");
  }
}

void make_absolute(OutputPlan& plan) {
  if (plan.mode != OutputMode::file || plan.file.starts_with('/')) return;
  const std::string here = absolute("") + '/';
  std::string folder;
  for (const char c : here) {
    folder += c;
    // The name is a pattern.
    if (c == '%') folder += c;
  }
  plan.file.insert(0, folder);
}

}  // namespace

int free_channel_fd(const std::vector<std::int32_t>& taken) {
  int fd = kChannelFd;
  while (std::ranges::count(taken, fd) > 0) ++fd;
  return fd;
}

RankStarter::RankStarter(LaunchOptions& options, Hosts& hosts, std::uint32_t size)
    : options_(options), hosts_(hosts), debugged_(size) {
  for (const std::uint32_t rank : options_.debugged) debugged_.at(rank) = true;
}

void RankStarter::greet(std::uint32_t host, const LaunchedGroup& group) {
  Hello hello = options_.hello;
  hello.host = host;
  hello.name = hosts_.name(host);
  hello.sent_ns = to_ns(os::Reactor::Clock::now());
  std::vector<std::uint32_t> readers(hosts_.count());
  for (std::uint32_t rank = 0; rank < options_.stdin_readers.size(); ++rank) {
    if (options_.stdin_readers[rank]) ++readers[group.host_of(rank)];
  }
  hello.stdin_readers = readers[host];
  // The kernel's own bound of the limit (fs.nr_open) is below 2^31.
  if (hello.soft_files == 0) hello.soft_files = static_cast<std::uint32_t>(os::unraised_soft_limit());
  if (host != kOwnHost) {
    make_absolute(hello.out);
    make_absolute(hello.err);
    hello.inherited.umask = options_.agent.inherited_context.umask;
    hello.inherited.nice = os::niceness();
    for (const auto& [resource, value] : os::soft_limits())
      hello.inherited.limits.push_back({resource, value});
    return hosts_.send(host, std::move(hello));
  }
  for (std::uint32_t other = 1; other < readers.size(); ++other) {
    if (readers[other] > 0) hello.stdin_hosts.push_back(other);
  }
  hosts_.send(host, std::move(hello));
  pass_fds();
}

void RankStarter::pass_fds() {
  const std::vector<std::int32_t>& numbers = options_.passed_fds;
  for (auto first = numbers.begin(); first != numbers.end();) {
    const auto left = static_cast<std::size_t>(numbers.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(left, kPassBatch));
    std::vector<os::UniqueFd> fds;
    std::for_each(first, last, [&](std::int32_t number) { fds.push_back(os::duplicate(number)); });
    hosts_.send(kOwnHost, PassFds{{first, last}}, std::move(fds));
    first = last;
  }
}

RankStarter::ProgramKey RankStarter::program_of(const LaunchedGroup& group, std::uint32_t rank) const {
  return {group.options().layout.place(rank).appnum, group.number() == 0 && debugged_[rank]};
}

// Throws OsError.
void RankStarter::send_program(std::uint32_t host, std::uint32_t id, const LaunchedGroup& group,
                               ProgramKey key) {
  const auto [appnum, debugged] = key;
  Program program = group.options().programs.at(appnum);
  program.id = id;
  if (host != kOwnHost) program.directory = absolute(program.directory);
  if (debugged)
    program.prefix.insert(program.prefix.begin(), options_.debugger.begin(), options_.debugger.end());
  std::vector<Program> parts = split(std::move(program), kMaxProgramPart);
  if (parts.empty()) throw os::OsError(E2BIG, "execve");
  for (Program& part : parts) hosts_.send(host, std::move(part));
}

void RankStarter::start(LaunchedGroup& group) {
  group.asked();
  for (const std::uint32_t host : group.hosts()) start_on(host, group);
}

void RankStarter::start_on(std::uint32_t host, LaunchedGroup& group) {
  const std::vector<std::uint32_t> ranks = group.ranks_on(host);
  if (group.number() == 0 && host != kOwnHost) {
    pass_pipes(host, STDOUT_FILENO, options_.pipes.rank_out, ranks);
    pass_pipes(host, STDERR_FILENO, options_.pipes.rank_err, ranks);
  }
  std::map<ProgramKey, std::variant<std::uint32_t, os::OsError>> programs;  // their numbers, or why not sent
  Start start{.group = group.number(), .ranks = {}};
  std::vector<os::UniqueFd> fds;
  const auto flush = [&] {
    if (!start.ranks.empty()) hosts_.send(host, start, std::exchange(fds, {}));
    start.ranks.clear();
  };
  for (const std::uint32_t rank : ranks) {
    const ProgramKey key = program_of(group, rank);
    const auto [program, is_new] = programs.try_emplace(key);
    if (is_new) {
      try {
        send_program(host, next_program_, group, key);
        program->second = next_program_++;
      } catch (const os::OsError& error) {
        program->second = error;
      }
    }
    if (const auto* error = std::get_if<os::OsError>(&program->second)) {
      group.start_failed(rank, error->code().value(), error->what(), error->syscall() == "execve");
      continue;
    }
    start.ranks.push_back(describe_rank(group, rank, fds));
    start.ranks.back().program = std::get<std::uint32_t>(program->second);
    if (start.ranks.size() == kMaxRanksPerStart || fds.size() + kMaxFdsPerRank > os::kMaxFdsPerMessage)
      flush();
  }
  flush();
  for (const auto& [key, number] : programs) {
    if (const auto* sent = std::get_if<std::uint32_t>(&number)) hosts_.send(host, ForgetProgram{*sent});
  }
}

void RankStarter::send_processes(const LaunchedGroup& group) {
  using Key = std::pair<std::uint32_t, std::uint32_t>;  // host and appnum
  std::map<Key, RankProcesses> messages;
  for (std::uint32_t rank = 0; rank < group.size(); ++rank) {
    const Key key{group.host_of(rank), group.options().layout.place(rank).appnum};
    if (key.first == kOwnHost) continue;
    RankProcesses& message = messages[key];
    message.ranks.push_back(rank);
    message.pids.push_back(group.outcome().rank(rank).pid);
  }
  for (auto& [key, message] : messages) {
    message.host = hosts_.name(key.first);
    message.executable = group.options().programs.at(key.second).args.front();
    hosts_.send(kOwnHost, std::move(message));
  }
}

// The own host's agent writes the output of other hosts' ranks to their pipes. The tasks of group 0 are
// numbered as its ranks.
void RankStarter::pass_pipes(std::uint32_t host, int stream, std::vector<os::UniqueFd>& pipes,
                             const std::vector<std::uint32_t>& ranks) {
  if (pipes.empty()) return;
  for (auto first = ranks.begin(); first != ranks.end();) {
    const auto left = static_cast<std::size_t>(ranks.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(left, kPassBatch));
    std::vector<os::UniqueFd> fds;
    std::for_each(first, last, [&](std::uint32_t rank) { fds.push_back(std::move(pipes[rank])); });
    hosts_.send(kOwnHost, TaskPipes{host, static_cast<std::uint32_t>(stream), {first, last}}, std::move(fds));
    first = last;
  }
}

StartRank RankStarter::describe_rank(const LaunchedGroup& group, std::uint32_t rank,
                                     std::vector<os::UniqueFd>& fds) {
  StartRank result{.rank = rank};
  if (group.number() != 0) return result;
  const auto attach = [&](std::vector<os::UniqueFd>& pipes, int number) {
    if (pipes.empty()) return;
    result.fds.push_back(number);
    if (group.host_of(rank) == kOwnHost) fds.push_back(std::move(pipes[rank]));
  };
  attach(options_.pipes.rank_out, STDOUT_FILENO);
  attach(options_.pipes.rank_err, STDERR_FILENO);
  result.reads_stdin = !options_.stdin_readers.empty() && options_.stdin_readers[rank];
  result.silent = !options_.silent.empty() && options_.silent[rank];
  return result;
}

}  // namespace wireup::runtime
