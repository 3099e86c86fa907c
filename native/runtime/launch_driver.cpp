#include "runtime/launch_driver.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/result_codes.h"
#include "os/error.h"
#include "os/limits.h"
#include "wire/printable.h"

namespace wireup::runtime {
namespace {

using namespace wire::agent;

// Tasks named in one Signal: 64 KiB of a message that may have 160.
constexpr std::size_t kSignalBatch = 16 << 10;

// Bytes of a status line: wider than any terminal, and far below what a message may have.
constexpr std::size_t kMaxStatus = 1000;

// The exit code of a job that stop() has ended: what a shell reports for a process that TERM ended.
constexpr std::int32_t kStopped = 128 + SIGTERM;

LaunchOptions checked(LaunchOptions options) {
  require_fds(options);
  return options;
}

}  // namespace

LaunchDriver::LaunchDriver(Parts parts, LaunchOptions options, std::function<void()> on_end)
    : reactor_(parts.reactor),
      reaper_(parts.reaper),
      sink_(parts.sink),
      handle_(parts.handle),
      options_(checked(std::move(options))),
      on_end_(std::move(on_end)),
      name_client_(parts.names),
      space_(options_.group.group.space),
      channel_fd_(free_channel_fd(options_.passed_fds)) {
  // No timer may survive an exception.
  try {
    open(std::move(parts.agent), std::move(parts.singleton));
  } catch (...) {
    cancel_timers();
    throw;
  }
}

void LaunchDriver::open(std::unique_ptr<AgentLink> agent, os::UniqueFd singleton) {
  LaunchedGroup& group = add_group(0, std::move(options_.group));
  start_agent(std::move(agent));
  starter_.emplace(options_, *agent_, group.size());
  starter_->greet();
  if (singleton) {
    adopt_singleton(group, std::move(singleton));
  } else {
    starter_->describe_programs(group);
  }
  limit(options_.timeout, engine::FailureReason::timeout);
  limit(options_.startup_timeout, engine::FailureReason::startup);
  start_some();
}

LaunchDriver::~LaunchDriver() { cancel_timers(); }

void LaunchDriver::cancel_timers() {
  reactor_.cancel(timer_);
  reactor_.cancel(forget_timer_);
  for (const os::Reactor::TimerId id : limits_) reactor_.cancel(id);
}

LaunchedGroup& LaunchDriver::add_group(std::uint32_t number, GroupOptions options) {
  const auto first = static_cast<std::uint32_t>(next_task_);
  options.names = name_client_;
  options.channel_fd = channel_fd_;
  options.group.names = names_;
  options.group.space = space_;
  auto group = std::make_unique<LaunchedGroup>(
      reactor_, number, first, std::move(options), options_.policy, options_.begin,
      [this](LaunchedGroup& from, const engine::Event& event) { on_event(from, event); },
      [this](const LaunchedGroup& from, engine::SpawnQuery query) {
        sink_.notify(handle_, std::move(query), from.number());
      });
  if (agent_pid_ != 0) group->server().started_by(agent_pid_);
  next_task_ += group->size();
  return *groups_.emplace(first, std::move(group)).first->second;
}

void LaunchDriver::start_agent(std::unique_ptr<AgentLink> agent) {
  if (!agent) {
    options_.agent.out = options_.pipes.out.get();
    options_.agent.err = options_.pipes.err.get();
    agent = std::make_unique<AgentLink>(reactor_, reaper_, options_.agent);
  }
  agent_ = std::move(agent);
  agent_->observe(this);
  options_.pipes.out.reset();
  options_.pipes.err.reset();
}

void LaunchDriver::adopt_singleton(LaunchedGroup& group, os::UniqueFd connection) {
  group.ask();
  group.server().adopt_channel(0, std::move(connection));
  group.started(0, options_.singleton->pid);
  sink_.notify(handle_, RankStarted{0, options_.singleton->pid, {}});
}

void LaunchDriver::on_event(LaunchedGroup& group, const engine::Event& event) {
  // Ranks of a group that could not be started are killed while they connect: these are not refusals.
  if (group.stillborn && event.type == engine::EventType::rejected) return;
  sink_.tell(handle_, event, group.number());
  // Only its parent can know how the singleton ended.
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

double LaunchDriver::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - options_.begin).count();
}

void LaunchDriver::limit(std::chrono::milliseconds delay, engine::FailureReason reason) {
  if (delay == std::chrono::milliseconds::zero()) return;
  limits_.push_back(reactor_.after(delay, [this, delay, reason] {
    if (reason == engine::FailureReason::startup && first().started_up()) return;
    first().outcome().timed_out(reason, delay);
    judge();
    // The agent waits no longer than the grace for readers of its output.
    limits_.push_back(
        reactor_.after(options_.grace, [this] { send_end(std::chrono::milliseconds::zero()); }));
  }));
}

void LaunchDriver::start_some() {
  for (const auto& [first, group] : groups_) {
    if (!group->all_answered()) return;
  }
  for (const auto& [first, group] : groups_) {
    if (!group->all_asked()) return starter_->start_batch(*group);
  }
}

void LaunchDriver::spawn(std::uint32_t number, SpawnOptions options) {
  const auto fail = [&](std::string why) {
    answer_spawn(options.spawner, {.rc = engine::kFail, .message = "cannot_start_processes"});
    sink_.notify(handle_, SpawnFailure{std::move(why)}, number);
  };
  if (end_sent_) return fail("the job is ending");
  if (space_ && space_->is_full()) return fail("the keys and values of the job have reached their limit");
  constexpr std::uint64_t kTasks = std::uint64_t{1} << 32;
  if (next_task_ + options.group.group.layout.size() > kTasks)
    return fail("no number is left for its processes");
  LaunchedGroup* group = nullptr;
  try {
    os::make_room_for_fds(options.group.group.layout.size() + kSpareFds);
    group = &add_group(number, std::move(options.group));
    group->spawner = options.spawner;
    starter_->describe_programs(*group);
  } catch (const std::exception& error) {
    if (group != nullptr) remove_group(*group);
    return fail(describe(error));
  }
  start_some();
  judge();
}

void LaunchDriver::remove_group(LaunchedGroup& group) {
  starter_->forget_programs(group);
  groups_.erase(group.first_task());
}

void LaunchDriver::answer_spawn(const Spawner& spawner, const engine::SpawnAnswer& answer) {
  if (LaunchedGroup* group = find_group(spawner.group)) group->server().answer_spawn(spawner.query, answer);
}

// Called when the group has been started as a whole, or cannot be.
void LaunchDriver::answer_spawner(LaunchedGroup& group) {
  const Spawner spawner = *std::exchange(group.spawner, std::nullopt);
  const auto& failure = group.outcome().failure();
  group.stillborn = failure && failure->reason == engine::FailureReason::spawn;
  if (!group.stillborn) {
    sink_.notify(handle_, GroupSpawned{}, group.number());
    return answer_spawn(spawner, {.kvsname = group.options().group.kvsname, .errcodes = spawner.errcodes});
  }
  starter_->forget_programs(group);
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
    // Not the process that was started, which is the guard and may end first.
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
      const os::OsError error(failed->error, failed->syscall, failed->subject);
      group->start_failed(failed->task - group->first_task(), failed->error, error.what(),
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
  // A server that learns of ranks that have left may call judge() again.
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
      // A group that is still being started does not fail the launch: it may become stillborn.
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

// Not at once: one of these process groups may be the caller.
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
  // The ranks of group 0 are the first tasks.
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
  // Sent again even if the job is ending: the agent takes the shorter grace.
  end_sent_ = true;
  send_end(grace);
}

void LaunchDriver::abandon() {
  for (const auto& [first, group] : groups_) group->outcome().stopped();
  if (agent_->hang_up() && agent_->gone()) finish();
}

void LaunchDriver::give_up(const std::string& why) {
  if (!failed_) failed_ = 0;
  judging_ = true;  // what the exception has interrupted is not resumed
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

// Its last messages may still be in the socket: the launch ends with the socket.
void LaunchDriver::on_agent_exit(const std::string& fault) {
  if (!fault.empty()) first().outcome().agent_lost(0, fault);
  if (agent_->gone()) finish();
}

void LaunchDriver::finish() {
  judge();
  // The result is the last notice.
  cancel_timers();
  agent_->observe(nullptr);
  const engine::Outcome& own = first().outcome();
  if (own.failure() && own.failure()->reason == engine::FailureReason::agent &&
      own.failure()->message.empty()) {
    // It ended before the job did, and its exit status does not say why.
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
