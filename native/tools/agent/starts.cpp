#include "tools/agent/starts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <utility>
#include <variant>

#include "os/error.h"
#include "os/limits.h"
#include "os/message_socket.h"
#include "os/start_process.h"
#include "runtime/engine_messages.h"
#include "runtime/rank_environment.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;

// Ranks in one turn of the loop.
constexpr std::size_t kStartsPerTurn = os::kConcurrentStarts;

}  // namespace

// A rank that is being started.
struct Starts::Attempt {
  // Others that are being started may need them.
  void close_fds() {
    waiting.fds.reset();
    input.reset();
    channel.reset();
    for (os::UniqueFd& fd : output) fd.reset();
  }

  Waiting waiting;
  const HostedGroup* group;
  std::uint32_t task;
  // The rank's ends of what was opened for it.
  os::UniqueFd input = {};
  os::UniqueFd channel = {};
  std::array<os::UniqueFd, 2> output = {};  // stdout and stderr
  std::optional<os::OsError> error = {};
};

Starts::Starts(Parts parts, const Signals& signals, std::string host_name)
    : parts_(parts), signals_(signals), programs_(host_name), host_name_(std::move(host_name)) {}

Starts::~Starts() { parts_.reactor.cancel(timer_); }

void Starts::greet(const Hello& hello, Output& output, Input* input) {
  own_host_ = hello.host == kOwnHost;
  out_ = hello.out.mode;
  err_ = hello.err.mode;
  // Another host's hard limit may be lower than the launcher's soft one.
  soft_files_ = std::min<std::uint64_t>(hello.soft_files, os::fd_limit().hard);
  plan_ = hello.binding;
  output_ = &output;
  input_ = input;
  for (const std::int32_t number : hello.ignored_signals) sigaddset(&signals_.ignored_in_ranks, number);
  for (const std::int32_t number : hello.blocked_signals) sigaddset(&signals_.blocked_in_ranks, number);
}

const char* Starts::pass(const PassFds& pass, std::optional<std::vector<os::UniqueFd>> fds) {
  if (!fds) {
    passed_fds_lost_ = true;
    return nullptr;
  }
  if (pass.fds.size() != fds->size()) return "has not the fds that it names";
  const std::uint64_t limit = os::fd_limit().hard;
  for (std::size_t i = 0; i < fds->size(); ++i) {
    const std::int32_t number = pass.fds[i];
    if (number <= STDERR_FILENO || is_passed(number)) return "has a bad fd number";
    // The launcher may have opened it before its limit was lowered. Now no process can get this number.
    if (static_cast<std::uint64_t>(number) >= limit) {
      complain(
          "the caller's fd %d cannot be passed on to ranks: it is not below the limit on open files, %llu",
          number, static_cast<unsigned long long>(limit));
      continue;
    }
    passed_fds_.emplace_back(std::move((*fds)[i]), number);
  }
  // The next message may contain as many fds.
  os::make_room_for_fds(os::kMaxFdsPerMessage);
  return nullptr;
}

const char* Starts::add(const RankProcesses& processes) {
  if (!own_host_) return "is not for this host";
  if (processes.ranks.size() != processes.pids.size()) return "has not a process for each rank";
  for (std::size_t i = 0; i < processes.ranks.size(); ++i) {
    if (processes.ranks[i] >= runtime::kMaxRanks) return "names a rank that does not exist";
    table_.add(processes.host, processes.ranks[i], processes.pids[i], processes.executable);
  }
  return nullptr;
}

bool Starts::is_passed(std::int32_t number) const {
  return std::ranges::any_of(passed_fds_, [number](const auto& entry) { return entry.second == number; });
}

const char* Starts::add(Program& program) {
  return programs_.add(std::move(program)) ? nullptr : "has a part of a program that does not fit";
}

const char* Starts::add(Start& start, std::optional<std::vector<os::UniqueFd>> fds) {
  const HostedGroup* const group = parts_.groups.find(start.group);
  if (group == nullptr) return "starts ranks of an unknown process group";
  std::size_t fds_named = 0;
  for (const StartRank& rank : start.ranks) {
    if (const char* fault = check(*group, rank)) return fault;
    if (!tasks_.insert(group->task(rank.rank)).second) return "starts a rank that runs";
    if (own_host_) fds_named += rank.fds.size();
  }
  if (fds && fds_named != fds->size()) return "has not the fds that it names";
  if (fds_named > 0) os::make_room_for_fds(os::kMaxFdsPerMessage);

  std::size_t next = 0;
  for (StartRank& rank : start.ranks) {
    std::optional<std::vector<os::UniqueFd>> own;
    if (fds) {
      own.emplace();
      for (std::size_t i = 0; own_host_ && i < rank.fds.size(); ++i)
        own->push_back(std::move((*fds)[next++]));
    }
    queue_.push_back({start.group, std::move(rank), std::move(own)});
  }
  if (canceled_) {
    fail_all();
  } else if (timer_ == 0 && !queue_.empty()) {
    // At the end of this turn.
    timer_ = parts_.reactor.after({}, [this] { start_some(); });
  }
  return nullptr;
}

const char* Starts::check(const HostedGroup& group, const StartRank& rank) const {
  if (!group.has(rank.rank)) return "starts a rank that is not on this host";
  if (parts_.ranks.running(group.task(rank.rank))) return "starts a rank that runs";
  if (!programs_.has(rank.program)) return "starts an unknown program";
  if (rank.reads_stdin && input_ == nullptr) return "has a reader of stdin that was not announced";
  std::set<std::int32_t> numbers;
  if (group.plan.pmi == PmiMode::fd) {
    if (is_passed(group.plan.channel_fd)) return "has a bad fd number";
    numbers.insert(group.plan.channel_fd);
  }
  for (const std::int32_t number : rank.fds) {
    if (number <= STDIN_FILENO || is_passed(number) || !numbers.insert(number).second ||
        (!own_host_ && number > STDERR_FILENO)) {
      return "has a bad fd number";
    }
  }
  return nullptr;
}

void Starts::forget_program(std::uint32_t id) {
  if (queue_.empty()) {
    programs_.forget(id);
  } else {
    queue_.back().forget.push_back(id);
  }
}

bool Starts::has(std::uint32_t group) const {
  return std::ranges::any_of(queue_, [group](const Waiting& entry) { return entry.group == group; });
}

void Starts::start_some() {
  timer_ = 0;
  std::vector<Attempt> attempts;
  // Of the attempts without an error.
  std::vector<std::uint32_t> tasks;
  std::vector<os::ProcessSpec> specs;
  while (!queue_.empty() && attempts.size() < kStartsPerTurn) {
    Attempt attempt = take_next();
    try {
      specs.push_back(prepare(attempt));
      tasks.push_back(attempt.task);
    } catch (const os::OsError& error) {
      attempt.close_fds();
      attempt.error = error;
    }
    for (const std::uint32_t id : attempt.waiting.forget) programs_.forget(id);
    attempts.push_back(std::move(attempt));
  }
  std::vector<Ranks::Outcome> outcomes = parts_.ranks.start(tasks, specs);
  std::size_t next = 0;
  for (Attempt& attempt : attempts) {
    if (!attempt.error) {
      const os::ProcessSpec& spec = specs[next];
      const Ranks::Outcome& outcome = outcomes[next++];
      if (const pid_t* const pid = std::get_if<pid_t>(&outcome)) {
        report(attempt, spec, *pid);
        continue;
      }
      attempt.error = std::get<os::OsError>(outcome);
    }
    fail(attempt.task, attempt.waiting.rank.reads_stdin, *attempt.error);
  }
  if (!queue_.empty()) timer_ = parts_.reactor.after({}, [this] { start_some(); });
}

Starts::Attempt Starts::take_next() {
  Waiting waiting = std::move(queue_.front());
  queue_.pop_front();
  // Groups with waiting ranks are not forgotten.
  const HostedGroup* const group = parts_.groups.find(waiting.group);
  const std::uint32_t task = group->task(waiting.rank.rank);
  tasks_.erase(task);
  return {std::move(waiting), group, task};
}

void Starts::fail(std::uint32_t task, bool reads_stdin, const os::OsError& error) {
  if (reads_stdin) input_->give_up(task);
  parts_.reports.send(StartFailed{task, error.code().value(), error.syscall(), error.subject()});
}

void Starts::fail_all() {
  const os::OsError error(ECANCELED, "spawn", "the job is ending");
  for (const Waiting& entry : std::exchange(queue_, {}))
    fail(parts_.groups.find(entry.group)->task(entry.rank.rank), entry.rank.reads_stdin, error);
  tasks_.clear();
}

void Starts::cancel() {
  canceled_ = true;
  parts_.reactor.cancel(std::exchange(timer_, 0));
  fail_all();
}

void Starts::stop() {
  parts_.reactor.cancel(std::exchange(timer_, 0));
  queue_.clear();
  tasks_.clear();
}

os::ProcessSpec Starts::prepare(Attempt& attempt) {
  if (!attempt.waiting.fds || passed_fds_lost_)
    throw os::OsError(EMFILE, "recvmsg", "the ranks' fds, in wireup-agent");
  // If it fails, it fails for each rank, so that none runs on the CPUs of another one.
  if (!bound_) binding_.plan(plan_);
  bound_ = true;
  const HostedGroup& group = *attempt.group;
  const StartRank& rank = attempt.waiting.rank;
  const std::vector<os::UniqueFd>& fds = *attempt.waiting.fds;
  const std::uint32_t task = attempt.task;
  const Executable& program = programs_.find(rank.program);
  os::FdPair input;
  if (rank.reads_stdin) input = os::make_pipe();
  attempt.input = std::move(input.first);
  RankSetup setup = parts_.groups.set_up(group, rank.rank, program);
  attempt.channel = std::move(setup.channel);

  os::ProcessSpec spec;
  spec.path = program.path;
  spec.args = program.args;
  spec.environment = runtime::merge_environment(program.environment, setup.environment);
  spec.directory = program.directory;
  spec.fds.emplace_back(rank.reads_stdin ? attempt.input.get() : parts_.dev_null, STDIN_FILENO);
  for (std::size_t i = 0; i < fds.size(); ++i) spec.fds.emplace_back(fds[i].get(), rank.fds[i]);
  if (attempt.channel) spec.fds.emplace_back(attempt.channel.get(), group.plan.channel_fd);
  for (const auto& [fd, number] : passed_fds_) spec.fds.emplace_back(fd.get(), number);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    if (own_host_ && std::ranges::count(rank.fds, fd) > 0) continue;
    os::UniqueFd& own = attempt.output[static_cast<std::size_t>(fd - STDOUT_FILENO)];
    spec.fds.emplace_back(output_of(rank, task, setup.names, fd, own), fd);
  }
  spec.new_session = true;
  spec.die_with_parent = true;
  spec.ignored_signals = signals_.ignored_in_ranks;
  spec.blocked_signals = signals_.blocked_in_ranks;
  spec.soft_files = soft_files_ == 0 ? os::unraised_soft_limit() : soft_files_;
  spec.not_default = &signals_.not_default;
  spec.cpus = binding_.next();
  spec.cgroup = parts_.cgroup.folder();
  spec.host_name = setup.host_name;

  // Everything that can fail comes before the start, so that StartFailed is never sent for a running rank.
  if (rank.reads_stdin) input_->add(task, std::move(input.second));
  return spec;
}

void Starts::report(const Attempt& attempt, const os::ProcessSpec& spec, pid_t pid) {
  const std::uint32_t rank = attempt.waiting.rank.rank;
  attempt.group->server->runs_as(rank, pid);
  // The MPIR interface has no spawned process groups.
  if (attempt.waiting.group == 0) table_.add(host_name_, rank, pid, spec.path);
  parts_.reports.send(Started{attempt.task, pid, spec.cpus, parts_.reports.now_ns()});
}

int Starts::output_of(const StartRank& rank, std::uint32_t task, const RankNames& names, int fd,
                      os::UniqueFd& opened) {
  if (!own_host_ && std::ranges::count(rank.fds, fd) > 0) {
    opened = output_->open_task(task, fd);
    return opened.get();
  }
  const OutputMode mode = rank.silent ? OutputMode::discard : fd == STDERR_FILENO ? err_ : out_;
  if (mode == OutputMode::discard) return parts_.dev_null;
  // Ranks of a spawned process group or of another host never inherit it: their output is always joined.
  if (mode == OutputMode::inherit && names.group == 0 && own_host_) {
    if (!refuses_to_wait(fd)) return fd;
    // Other processes share the open file, so its O_NONBLOCK flag is not changed. If it cannot be opened
    // again, such as a socket, the agent writes the rank's output to it.
    opened = open_again(fd, O_WRONLY);
    if (opened) return opened.get();
  }
  opened = output_->open(names, fd);
  return opened.get();
}

}  // namespace wireup::agent
