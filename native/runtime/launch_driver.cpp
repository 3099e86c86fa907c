#include "runtime/launch_driver.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <numeric>

#include "engine/result_codes.h"
#include "os/error.h"
#include "os/limits.h"
#include "runtime/rank_environment.h"
#include "wire/printable.h"

namespace wireup::runtime {
namespace {

using namespace wire::agent;

// Ranks named in one Start. Small enough that the server's turn comes often, and below the 253 fds that one
// message can carry.
constexpr std::uint32_t kStartBatch = 64;

// Fds in one PassFds: below the 253 that one message can carry.
constexpr std::size_t kPassBatch = 64;

// Processes named in one Signal: 64 KiB of a message that may hold 160.
constexpr std::size_t kSignalBatch = 16 << 10;

// Of a status line: wider than any terminal, and far below what a message may hold.
constexpr std::size_t kMaxStatus = 1000;

// The exit code of a job that its owner has ended: what a shell reports for a process that TERM ended.
constexpr std::int32_t kStopped = 128 + SIGTERM;

// Beside one fd a rank: the agent's socket and pidfd, listener, batches on their way, Node's own.
constexpr std::size_t kSpareFds = kStartBatch + 16;

// Makes room for what the job needs open, or says by how much the limit is too low.
void require_fds(const LaunchOptions& options) {
  const std::size_t ranks = options.group.group.layout.size();
  const std::size_t passed = options.inheritance.fds.size();
  const std::size_t ours = ranks + passed + kSpareFds;
  // The agent holds a pidfd a rank, and the read end of each pipe that it reads.
  const auto reads = [&](const OutputPlan& plan) {
    return plan.mode == OutputMode::merge || (plan.mode == OutputMode::file && !options.label.empty());
  };
  const std::size_t agents =
      ranks * (1U + (reads(options.out) ? 1U : 0U) + (reads(options.err) ? 1U : 0U)) + passed + kSpareFds;
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

std::uint32_t soft_files_of_ranks(const Inheritance& inheritance) {
  if (inheritance.soft_files != 0) return inheritance.soft_files;
  // The kernel's own bound (fs.nr_open) is below 2^31.
  return static_cast<std::uint32_t>(os::unraised_soft_limit());
}

int free_channel_fd(const std::vector<std::int32_t>& taken) {
  int fd = kChannelFd;
  while (std::ranges::count(taken, fd) > 0) ++fd;
  return fd;
}

LaunchOptions checked(LaunchOptions options) {
  require_fds(options);
  return options;
}

}  // namespace

std::vector<os::FdPair> open_output_pipes(std::size_t count) {
  os::make_room_for_fds(2 * count + kSpareFds);
  std::vector<os::FdPair> pipes;
  pipes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) pipes.push_back(os::make_pipe());
  return pipes;
}

LaunchDriver::LaunchDriver(os::Reactor& reactor, LaunchOptions options, Handle handle, NoticeSink& sink,
                           std::function<void()> on_end, std::unique_ptr<AgentLink> agent, NameClient* names)
    : reactor_(reactor),
      options_(checked(std::move(options))),
      handle_(handle),
      sink_(sink),
      on_end_(std::move(on_end)),
      name_client_(names),
      space_(options_.group.group.space),
      channel_fd_(free_channel_fd(options_.inheritance.fds)) {
  // Of what throws on the way, no timer may stay.
  try {
    open(std::move(agent));
  } catch (...) {
    cancel_timers();
    throw;
  }
}

void LaunchDriver::open(std::unique_ptr<AgentLink> agent) {
  LaunchedGroup& group = add_group(0, std::move(options_.group));
  start_agent(std::move(agent));
  const auto readers = static_cast<std::uint32_t>(std::ranges::count(options_.stdin_readers, true));
  agent_->send(Hello{.out = options_.out,
                     .err = options_.err,
                     .label = options_.label,
                     .spawned_label = options_.spawned_label,
                     .stdin_readers = readers,
                     .binding = options_.binding,
                     .ignored_signals = options_.inheritance.ignored_signals,
                     .blocked_signals = options_.inheritance.blocked_signals,
                     .soft_files = soft_files_of_ranks(options_.inheritance)});
  pass_fds();
  debugged_.resize(group.size());
  for (const std::uint32_t rank : options_.debugged) debugged_.at(rank) = true;
  if (options_.singleton) {
    adopt_singleton(group);
  } else {
    describe_programs(group);
  }
  limit(options_.timeout, engine::FailureReason::timeout);
  limit(options_.startup_timeout, engine::FailureReason::startup);
  start_some();
}

LaunchDriver::~LaunchDriver() { cancel_timers(); }

void LaunchDriver::cancel_timers() {
  if (timer_ != 0) reactor_.cancel(timer_);
  if (forget_timer_ != 0) reactor_.cancel(forget_timer_);
  for (const os::Reactor::TimerId id : limits_) reactor_.cancel(id);
}

// Throws os::OsError.
LaunchedGroup& LaunchDriver::add_group(std::uint32_t number, GroupOptions options) {
  const auto first = static_cast<std::uint32_t>(next_task_);
  options.names = name_client_;
  options.channel_fd = channel_fd_;
  options.group.names = names_;
  options.group.space = space_;
  auto group = std::make_unique<LaunchedGroup>(
      reactor_, number, first, std::move(options), options_.policy, begin_,
      [this](LaunchedGroup& from, const engine::Event& event) { on_event(from, event); },
      [this](const LaunchedGroup& from, engine::SpawnQuery query) {
        sink_.notify(handle_, std::move(query), from.number());
      });
  if (agent_pid_ != 0) group->server().started_by(agent_pid_);
  next_task_ += group->size();
  return *groups_.emplace(first, std::move(group)).first->second;
}

// Throws os::OsError for one that is not open.
void LaunchDriver::pass_fds() {
  const std::vector<std::int32_t>& numbers = options_.inheritance.fds;
  for (auto first = numbers.begin(); first != numbers.end();) {
    const auto left = static_cast<std::size_t>(numbers.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(left, kPassBatch));
    std::vector<os::UniqueFd> fds;
    std::for_each(first, last, [&](std::int32_t number) { fds.push_back(os::duplicate(number)); });
    agent_->send(PassFds{{first, last}}, std::move(fds));
    first = last;
  }
}

void LaunchDriver::adopt_singleton(LaunchedGroup& group) {
  group.ask();
  group.server().adopt_channel(0, std::move(*options_.singleton));
  group.started(0, options_.singleton_pid);
  sink_.notify(handle_, RankStarted{0, options_.singleton_pid, {}});
}

void LaunchDriver::on_event(LaunchedGroup& group, const engine::Event& event) {
  // Ranks of a group that could not be started are killed while they connect: these are no strangers.
  if (group.stillborn && event.type == engine::EventType::rejected) return;
  sink_.tell(handle_, event, group.number());
  // How it ended only its parent can know.
  if (options_.singleton && group.number() == 0 && event.type == engine::EventType::disconnected) {
    sink_.notify(handle_, RankExited{0, group.exited(0, {})});
  }
  judge();
}

LaunchedGroup* LaunchDriver::find_group(std::uint32_t number) {
  for (const auto& [first, group] : groups_) {
    if (group->number() == number) return group.get();
  }
  return nullptr;
}

LaunchedGroup* LaunchDriver::group_of(std::uint32_t task) {
  const auto next = groups_.upper_bound(task);
  if (next == groups_.begin()) return nullptr;
  LaunchedGroup& group = *std::prev(next)->second;
  return group.has(task) && task - group.first_task() < group.asked() ? &group : nullptr;
}

// The program of an application, and the same under the debugger behind it.
std::uint32_t LaunchDriver::program_of(const LaunchedGroup& group, std::uint32_t rank) const {
  const bool debugged = group.number() == 0 && debugged_[rank];
  return group.first_program + 2 * group.options().group.layout.place(rank).appnum + (debugged ? 1 : 0);
}

void LaunchDriver::describe_programs(LaunchedGroup& group) {
  std::vector<Program> programs = std::move(group.options().programs);
  group.first_program = next_program_;
  // The agent removes what we leave when we are killed.
  if (const std::string folder = group.server().private_folder(); !folder.empty())
    agent_->send(SocketFolder{folder});
  for (Program& program : programs) {
    if (group.number() == 0 && !options_.debugged.empty()) {
      Program debugged = program;
      debugged.prefix.insert(debugged.prefix.begin(), options_.debugger.begin(), options_.debugger.end());
      describe_program(next_program_ + 1, std::move(debugged));
    }
    describe_program(next_program_, std::move(program));
    next_program_ += 2;
  }
}

// Throws os::OsError when one of its strings is too long for any program.
void LaunchDriver::describe_program(std::uint32_t id, Program program) {
  program.id = id;
  std::vector<Program> parts = split(std::move(program), os::kMaxMessage);
  if (parts.empty()) throw os::OsError(E2BIG, "execve");
  for (Program& part : parts) agent_->send(std::move(part));
}

// Those of a spawned group that cannot be started: the agent forgets others with their last rank.
void LaunchDriver::forget_programs(const LaunchedGroup& group) {
  const std::uint32_t last = program_of(group, group.size() - 1);
  for (std::uint32_t id = group.first_program; id <= last; id += 2) agent_->send(Start{id, {}, true});
}

double LaunchDriver::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - begin_).count();
}

void LaunchDriver::limit(std::chrono::milliseconds delay, engine::FailureReason reason) {
  if (delay == std::chrono::milliseconds::zero()) return;
  limits_.push_back(reactor_.after(delay, [this, delay, reason] {
    if (reason == engine::FailureReason::startup && first().started_up()) return;
    first().outcome().timed_out(reason, delay);
    judge();
    // Output that nobody takes does not hold it up for longer.
    limits_.push_back(
        reactor_.after(options_.grace, [this] { send_end(std::chrono::milliseconds::zero()); }));
  }));
}

void LaunchDriver::start_agent(std::unique_ptr<AgentLink> agent) {
  if (!agent) {
    options_.agent.out = options_.pipes->out.get();
    options_.agent.err = options_.pipes->err.get();
    agent = std::make_unique<AgentLink>(reactor_, options_.agent);
  }
  agent_ = std::move(agent);
  agent_->observe(*this);
  options_.pipes->out.reset();
  options_.pipes->err.reset();
}

// The next batch is asked for when the agent has started the last: its fds are then out of the socket's
// queue, whose bound on fds in flight is the file limit.
void LaunchDriver::start_some() {
  for (const auto& [first, group] : groups_) {
    if (!group->all_answered()) return;
  }
  for (const auto& [first, group] : groups_) {
    if (!group->all_asked()) return start_some(*group);
  }
}

void LaunchDriver::start_some(LaunchedGroup& group) {
  Start spawn{program_of(group, group.asked()), {}};
  std::vector<os::UniqueFd> fds;
  const std::uint32_t last = std::min(group.size(), group.asked() + kStartBatch);
  // A batch has one program, so it ends where that changes.
  while (group.asked() < last && program_of(group, group.asked()) == spawn.program) {
    const std::uint32_t rank = group.asked();
    group.ask();
    try {
      spawn.ranks.push_back(describe_rank(group, rank, fds));
    } catch (const os::OsError& error) {
      // The owner has opened files since room was made for ours.
      group.start_failed(rank, error.code().value(), error.what(), false);
      break;
    }
  }
  // Ranks under a debugger have programs of their own among the others.
  spawn.last =
      group.number() != 0 && (group.all_asked() || program_of(group, group.asked()) != spawn.program);
  agent_->send(std::move(spawn), std::move(fds));
}

StartRank LaunchDriver::describe_rank(LaunchedGroup& group, std::uint32_t rank,
                                      std::vector<os::UniqueFd>& fds) {
  StartRank result = group.describe(rank, fds);
  if (group.number() != 0) return result;
  const auto attach = [&](std::vector<os::UniqueFd>& pipes, int number) {
    if (pipes.empty()) return;
    fds.push_back(std::move(pipes[rank]));
    result.fds.push_back(number);
  };
  attach(options_.pipes->rank_out, STDOUT_FILENO);
  attach(options_.pipes->rank_err, STDERR_FILENO);
  result.reads_stdin = !options_.stdin_readers.empty() && options_.stdin_readers[rank];
  result.silent = !options_.silent.empty() && options_.silent[rank];
  return result;
}

void LaunchDriver::spawn(std::uint32_t number, SpawnOptions options) {
  const auto fail = [&](std::string why) {
    answer_spawn(options.spawner, {.rc = engine::kFail, .message = "cannot_start_processes"});
    sink_.notify(handle_, SpawnFailure{std::move(why)}, number);
  };
  if (end_sent_) return fail("the job is ending");
  if (space_ && space_->is_full()) return fail("the keys and values of the job have reached their limit");
  constexpr std::uint64_t kProcesses = std::uint64_t{1} << 32;
  if (next_task_ + options.group.group.layout.size() > kProcesses)
    return fail("no number is left for its processes");
  LaunchedGroup* group = nullptr;
  try {
    os::make_room_for_fds(options.group.group.layout.size() + kSpareFds);
    group = &add_group(number, std::move(options.group));
    group->spawner = options.spawner;
    describe_programs(*group);
  } catch (const os::OsError& error) {
    if (group != nullptr) {
      forget_programs(*group);
      groups_.erase(group->first_task());
    }
    return fail(error.what());
  }
  start_some();
  judge();
}

void LaunchDriver::answer_spawn(const Spawner& spawner, const engine::SpawnAnswer& answer) {
  if (LaunchedGroup* group = find_group(spawner.group)) group->server().answer_spawn(spawner.query, answer);
}

// The group has been started as a whole, or it has not and will not be.
void LaunchDriver::answer_spawner(LaunchedGroup& group) {
  const Spawner spawner = *std::exchange(group.spawner, std::nullopt);
  const auto& failure = group.outcome().failure();
  group.stillborn = failure && failure->reason == engine::FailureReason::spawn;
  if (!group.stillborn) {
    sink_.notify(handle_, GroupSpawned{}, group.number());
    return answer_spawn(spawner, {.kvsname = group.options().group.kvsname, .errcodes = spawner.errcodes});
  }
  forget_programs(group);
  std::vector<std::uint32_t> started(group.asked());
  std::iota(started.begin(), started.end(), group.first_task());
  send_signal(SIGKILL, started);
  sink_.notify(handle_, SpawnFailure{failure->message}, group.number());
  answer_spawn(spawner, {.rc = engine::kFail,
                         .message = failure->no_program ? "no_such_program" : "cannot_start_processes",
                         .errcodes = std::vector<std::int32_t>(spawner.errcodes.size(), engine::kFail)});
}

void LaunchDriver::on_agent_message(Message& message) {
  if (const auto* ready = std::get_if<Ready>(&message)) {
    // Not its guard, the process that we have started: that may go first.
    agent_pid_ = ready->pid;
    for (const auto& [first, group] : groups_) group->server().started_by(agent_pid_);
    sink_.notify(handle_, AgentReady{ready->pid, ready->host});
  } else if (auto* started = std::get_if<Started>(&message)) {
    if (LaunchedGroup* group = group_of(started->task)) {
      const std::uint32_t rank = started->task - group->first_task();
      group->started(rank, started->pid);
      sink_.notify(handle_, RankStarted{rank, started->pid, std::move(started->cpus)}, group->number());
    }
  } else if (const auto* failed = std::get_if<StartFailed>(&message)) {
    if (LaunchedGroup* group = group_of(failed->task)) {
      group->start_failed(failed->task - group->first_task(), failed->error,
                          failed->syscall + " " + failed->subject + ": " + std::strerror(failed->error),
                          failed->syscall == "execve");
    }
  } else if (const auto* exit = std::get_if<Exited>(&message)) {
    if (LaunchedGroup* group = group_of(exit->task)) {
      const std::uint32_t rank = exit->task - group->first_task();
      engine::RankOutcome how;
      how.signaled = exit->signaled;
      how.value = exit->value;
      how.core_dumped = exit->core_dumped;
      how.ended = exit->ended;
      sink_.notify(handle_, RankExited{rank, group->exited(rank, how)}, group->number());
    }
  } else if (const auto* lost = std::get_if<OutputLost>(&message)) {
    first().outcome().output_lost(lost->error, lost->subject);
  } else if (std::holds_alternative<Printed>(message)) {
    sink_.notify(handle_, RanksPrinted{});
  } else if (std::holds_alternative<Done>(message)) {
    done_ = true;
  }
  start_some();
  judge();
}

void LaunchDriver::judge() {
  // Telling a server of those who have left may bring us here again.
  if (std::exchange(judging_, true)) {
    judge_again_ = true;
    return;
  }
  do {
    judge_again_ = false;
    bool ends = false;
    bool over = true;
    for (const auto& [first, group] : groups_) {
      group->settle();
      if (group->spawner && group->all_asked() && group->all_answered()) answer_spawner(*group);
      // A group that is being started as a whole or not at all fails nobody yet.
      const bool counts = !group->spawner && !group->stillborn;
      if (counts && group->outcome().failure() && !failed_) failed_ = group->number();
      ends = ends || (counts && group->outcome().must_end());
      over = over && group->over() && !group->spawner;
    }
    if (ends) {
      for (const auto& [first, group] : groups_) group->outcome().stopped();
      end(options_.grace);
    } else if (over) {
      end(std::chrono::milliseconds::zero());
    }
  } while (judge_again_);
  judging_ = false;
  forget_groups();
  arm_timer();
}

// Not at once: we may have been called by what is to go.
void LaunchDriver::forget_groups() {
  if (forget_timer_ != 0) return;
  const auto is_past = [this](const LaunchedGroup& group) {
    return group.number() != 0 && group.number() != failed_ && !group.spawner && group.over();
  };
  if (std::ranges::none_of(groups_, [&](const auto& entry) { return is_past(*entry.second); })) return;
  forget_timer_ = reactor_.after(std::chrono::milliseconds::zero(), [this, is_past] {
    forget_timer_ = 0;
    for (auto entry = groups_.begin(); entry != groups_.end();) {
      if (is_past(*entry->second)) {
        sink_.notify(handle_, GroupEnded{}, entry->second->number());
        entry = groups_.erase(entry);
      } else {
        ++entry;
      }
    }
  });
}

void LaunchDriver::end(std::chrono::milliseconds grace) {
  if (!std::exchange(end_sent_, true)) send_end(grace);
}

void LaunchDriver::send_end(std::chrono::milliseconds grace) {
  agent_->send(End{static_cast<std::uint32_t>(grace.count())});
}

void LaunchDriver::signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks) {
  for (const auto& [number, group] : groups_) group->outcome().forwarded(signal);
  // The first group's ranks are the first processes.
  if (ranks.empty()) return agent_->send(Signal{signal, {}});
  send_signal(signal, ranks);
}

void LaunchDriver::send_signal(std::int32_t signal, const std::vector<std::uint32_t>& tasks) {
  for (auto first = tasks.begin(); first != tasks.end();) {
    const auto left = static_cast<std::size_t>(tasks.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min(left, kSignalBatch));
    agent_->send(Signal{signal, {first, last}});
    first = last;
  }
}

void LaunchDriver::show_status(std::string_view line) {
  agent_->send(Status{std::string(wire::cut(line, kMaxStatus))});
}

std::map<std::uint32_t, engine::ProcessGroupStatus> LaunchDriver::status() const {
  std::map<std::uint32_t, engine::ProcessGroupStatus> result;
  for (const auto& [first, group] : groups_)
    result.emplace(group->number(), group->server().group().status());
  return result;
}

void LaunchDriver::stop(std::chrono::milliseconds grace) {
  for (const auto& [first, group] : groups_) group->outcome().stopped();
  stopped_ = stopped_ || !end_sent_;
  // Said again even where the job is ending: the agent takes the shorter grace.
  end_sent_ = true;
  send_end(grace);
}

void LaunchDriver::abandon() {
  for (const auto& [first, group] : groups_) group->outcome().stopped();
  if (agent_->hang_up() && agent_->gone()) finish();
}

void LaunchDriver::give_up(const std::string& why) {
  if (!failed_) failed_ = 0;
  judging_ = true;  // whatever it was at, it is not taken up again
  first().outcome().agent_lost(0, why);
  finish();
}

void LaunchDriver::arm_timer() {
  if (timer_ != 0) reactor_.cancel(timer_);
  timer_ = 0;
  std::optional<engine::TimePoint> due;
  for (const auto& [first, group] : groups_) {
    const auto next = group->outcome().deadline();
    if (next && (!due || *next < *due)) due = next;
  }
  if (!due) return;
  timer_ = reactor_.at(*due, [this] {
    timer_ = 0;
    for (const auto& [first, group] : groups_) group->outcome().tick(os::Reactor::Clock::now());
    judge();
  });
}

void LaunchDriver::on_agent_silent(int error) {
  if (!done_) first().outcome().agent_lost(error, {});
  judge();
  if (agent_->gone()) finish();
}

// Its last messages may still lie in the socket: the end of that decides.
void LaunchDriver::on_agent_exit(const std::string& fault) {
  if (!fault.empty()) first().outcome().agent_lost(0, fault);
  if (agent_->gone()) finish();
}

void LaunchDriver::finish() {
  judge();
  const engine::Outcome& own = first().outcome();
  if (own.failure() && own.failure()->reason == engine::FailureReason::agent &&
      own.failure()->message.empty()) {
    // It ended before the job did, and its exit says nothing of it.
    first().outcome().agent_lost(0, "wireup-agent left before the job had ended");
  }
  LaunchResult result;
  result.stopped = stopped_ && std::ranges::any_of(groups_, [](const auto& entry) {
                     return !entry.second->stillborn && entry.second->outcome().cut_short();
                   });
  if (result.stopped) result.exit_code = kStopped;
  if (failed_) find_group(*failed_)->describe_failure(result);
  if (failed_ || result.stopped) {
    for (const auto& [task, group] : groups_) result.victims += group->outcome().victims();
  }
  first().describe_ranks(result);
  result.duration = now();
  sink_.notify(handle_, std::move(result));
  on_end_();
}

}  // namespace wireup::runtime
