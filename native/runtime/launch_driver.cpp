#include "runtime/launch_driver.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "engine/result_codes.h"
#include "runtime/engine_messages.h"
#include "wire/printable.h"

namespace wireup::runtime {
namespace {

// Bytes of a status line: wider than any terminal.
constexpr std::size_t kMaxStatus = 1000;

// Between two looks at the processor time, which the kernel counts in hundredths of a second.
constexpr std::chrono::milliseconds kLookInterval{200};

// Late ranks that are looked at when the job was not ready in time. Any more would do the same.
constexpr std::size_t kMaxLate = 1024;

// What a shell reports for a process that a signal ended.
constexpr std::int32_t kSignalBase = 128;

// Whether the signal is sent to end a program.
bool ends_programs(std::int32_t signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT || signal == SIGKILL;
}

// Whether some ranks of a group that was started were ended, or not started.
bool is_cut_short(const LaunchedGroup& group) { return !group.stillborn && group.outcome().cut_short(); }

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
      channel_fd_(free_channel_fd(options_.passed_fds)),
      agent_(start_agent(std::move(parts.agent))),
      hosts_(*agent_, std::move(options_.hosts), std::move(options_.host_environment), options_.tree_width,
             std::move(options_.together)),
      starter_(options_, hosts_, options_.group.layout.size()) {
  // No timer may survive an exception.
  try {
    open(std::move(parts.singleton));
  } catch (...) {
    cancel_timers();
    throw;
  }
}

void LaunchDriver::open(os::UniqueFd singleton) {
  singleton_ = std::move(singleton);
  const LaunchedGroup& group = add_group(0, std::move(options_.group));
  server_ready_ = !group.hosts().contains(wire::agent::kOwnHost);
  greet(wire::agent::kOwnHost);
  start_hosts(group.hosts());
  limit(options_.timeout, engine::FailureReason::timeout);
  limit(options_.startup_timeout, engine::FailureReason::startup);
}

LaunchDriver::~LaunchDriver() { cancel_timers(); }

void LaunchDriver::cancel_timers() {
  reactor_.cancel(timer_);
  reactor_.cancel(forget_timer_);
  for (const os::Reactor::TimerId id : limits_) reactor_.cancel(id);
}

std::unique_ptr<AgentLink> LaunchDriver::start_agent(std::unique_ptr<AgentLink> agent) {
  if (!agent) {
    options_.agent.out = options_.pipes.out.get();
    options_.agent.err = options_.pipes.err.get();
    agent = std::make_unique<AgentLink>(reactor_, reaper_, options_.agent);
  }
  agent->observe(this);
  options_.pipes.out.reset();
  options_.pipes.err.reset();
  return agent;
}

LaunchedGroup& LaunchDriver::add_group(std::uint32_t number, GroupOptions options) {
  const auto first = static_cast<std::uint32_t>(next_task_);
  options.group.channel_fd = channel_fd_;
  auto group = std::make_unique<LaunchedGroup>(number, first, std::move(options), hosts_.count(),
                                               options_.policy, options_.begin, names_.join());
  next_task_ += group->size();
  return *groups_.emplace(first, std::move(group)).first->second;
}

// The first messages to an agent. Other hosts' agents get them together with the first answer that they get
// at all, so no further round trip is needed before they have their PMI servers.
void LaunchDriver::greet(std::uint32_t host) {
  starter_.greet(host, first());
  hosts_.send(host, first().options().group);
}

void LaunchDriver::start_hosts(const std::set<std::uint32_t>& hosts) {
  hosts_.start(hosts, [this](std::uint32_t host) { greet(host); });
}

void LaunchDriver::start_groups() {
  for (const auto& [task, group] : groups_) {
    if (end_sent_ || !group->can_start()) continue;
    if (singleton_) {
      adopt_singleton();
    } else {
      starter_.start(*group);
    }
  }
}

void LaunchDriver::adopt_singleton() {
  const std::int32_t pid = options_.singleton->pid;
  std::vector<os::UniqueFd> connection;
  connection.push_back(std::move(singleton_));
  first().asked();
  hosts_.send(wire::agent::kOwnHost, wire::agent::AdoptRank{.group = 0, .pid = pid}, std::move(connection));
  first().started(0, pid, os::Reactor::Clock::now());
  sink_.notify(handle_, RankStarted{0, pid, {}});
}

LaunchedGroup* LaunchDriver::find_group(std::uint32_t number) {
  for (const auto& [task, group] : groups_) {
    if (group->number() == number) return group.get();
  }
  return nullptr;
}

double LaunchDriver::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - options_.begin).count();
}

void LaunchDriver::limit(std::chrono::milliseconds delay, engine::FailureReason reason) {
  if (delay == std::chrono::milliseconds::zero()) return;
  limits_.push_back(reactor_.after(delay, [this, delay, reason] {
    if (reason == engine::FailureReason::startup) return check_startup();
    time_out(reason, delay);
  }));
}

// The first barrier is complete if one has been completed, or if no rank is inside.
void LaunchDriver::check_startup() {
  if (auto late = first().not_initialized(); !late.empty()) return fail_startup(std::move(late));
  if (first().passed_barrier()) return;
  ask_status([this](const StatusQueries::Replies& replies) {
    if (over_ || first().passed_barrier()) return;
    const engine::ProcessGroupStatus status = first().status(replies);
    if (!status.barrier.inside.empty()) fail_startup(status.barrier.missing);
  });
}

void LaunchDriver::fail_startup(std::vector<std::uint32_t> late) {
  // Asked before the end, so that the processes still run.
  if (late.size() > kMaxLate) late.resize(kMaxLate);
  ask_inspection(late, std::chrono::milliseconds::zero(), 0,
                 [this](std::vector<wire::agent::InspectedRank> ranks) { late_ = std::move(ranks); });
  time_out(engine::FailureReason::startup, options_.startup_timeout);
}

void LaunchDriver::time_out(engine::FailureReason reason, std::chrono::milliseconds limit) {
  first().outcome().timed_out(reason, limit);
  judge();
  // The agent waits no longer than the grace for readers of its output.
  limits_.push_back(reactor_.after(options_.grace, [this] { send_end(std::chrono::milliseconds::zero()); }));
}

void LaunchDriver::spawn(std::uint32_t number, SpawnOptions options) {
  const auto fail = [&](std::string why) {
    answer_spawn(options.spawner.query, {.rc = engine::kFail, .message = "cannot_start_processes"});
    sink_.notify(handle_, SpawnFailure{std::move(why)}, number);
  };
  if (end_sent_) return fail("the job is ending");
  constexpr std::uint64_t kTasks = std::uint64_t{1} << 32;
  if (next_task_ + options.group.layout.size() > kTasks) return fail("no number is left for its processes");
  for (const wire::agent::Node& node : options.group.group.nodes) {
    if (hosts_.is_lost(node.host)) return fail("host " + hosts_.name(node.host) + " is lost");
  }
  try {
    LaunchedGroup& group = add_group(number, std::move(options.group));
    group.spawner = options.spawner;
    start_hosts(group.hosts());
    hosts_.send_to_all(group.options().group);
  } catch (const std::exception& error) {
    return fail(describe(error));
  }
  judge();
}

void LaunchDriver::answer_spawn(engine::QueryId query, engine::SpawnAnswer answer) {
  const auto asker = askers_.find(query);
  if (asker == askers_.end()) return;
  const auto [host, number, rank, asked] = asker->second;
  askers_.erase(asker);
  if (LaunchedGroup* group = find_group(number)) group->answered_query(rank);
  hosts_.send(host, to_message(number, asked, std::move(answer)));
}

// Why the group could not be started. With several hosts it names the one that failed.
std::string LaunchDriver::describe_failed_start(const LaunchedGroup& group) const {
  const auto& failure = group.outcome().failure();
  if (!failure) return "the job is ending";
  if (failure->reason == engine::FailureReason::host)
    return "host " + hosts_.name(static_cast<std::uint32_t>(failure->value)) +
           (failure->started ? ": " : " could not be started: ") + failure->message;
  if (failure->rank < 0 || hosts_.count() == 1) return failure->message;
  return "on " + hosts_.name(group.host_of(static_cast<std::uint32_t>(failure->rank))) + ": " +
         failure->message;
}

// Called when the group has been started as a whole, or cannot be.
void LaunchDriver::answer_spawner(LaunchedGroup& group) {
  const Spawner spawner = *std::exchange(group.spawner, std::nullopt);
  if (group.all_started()) {
    sink_.notify(handle_, GroupSpawned{}, group.number());
    return answer_spawn(spawner.query,
                        {.kvsname = group.options().group.kvsname, .errcodes = spawner.errcodes});
  }
  group.stillborn = true;
  std::vector<std::uint32_t> all(group.is_asked() ? group.size() : 0);
  for (std::uint32_t rank = 0; rank < all.size(); ++rank) all[rank] = rank;
  send_signal(SIGKILL, group, all);
  const auto& failure = group.outcome().failure();
  sink_.notify(handle_, SpawnFailure{describe_failed_start(group)}, group.number());
  const bool no_program = failure && failure->no_program;
  answer_spawn(spawner.query,
               {.rc = engine::kFail,
                .message = no_program ? "no_such_program" : "cannot_start_processes",
                .errcodes = std::vector<std::int32_t>(spawner.errcodes.size(), engine::kFail)});
}

void LaunchDriver::judge() {
  if (over_) return;
  start_groups();
  bool ends = false;
  bool over = true;
  for (const auto& [task, group] : groups_) {
    send_messages(*group);
    if (group->spawner && group->all_asked() && group->all_answered()) answer_spawner(*group);
    // A group that is still being started does not fail the launch: it may become stillborn.
    const bool counts = !group->spawner && !group->stillborn;
    if (counts && group->outcome().failure() && !failed_) note_failure(*group);
    ends = ends || (counts && group->outcome().must_end());
    over = over && group->over() && !group->spawner;
  }
  if (ends) {
    for (const auto& [task, group] : groups_) group->outcome().stopped();
    end(options_.grace);
  } else if (over) {
    end(std::chrono::milliseconds::zero());
  }
  forget_groups();
  arm_timer();
}

void LaunchDriver::send_messages(LaunchedGroup& group) {
  for (const auto& [host, message] : group.take_messages()) hosts_.send(host, message);
}

// If ranks are missing, the status is asked for before the job is ended: the agents send it before they end
// their ranks.
void LaunchDriver::note_failure(LaunchedGroup& group) {
  failed_ = group.number();
  const engine::FailureReason reason = group.outcome().failure()->reason;
  if (reason != engine::FailureReason::early && reason != engine::FailureReason::timeout &&
      reason != engine::FailureReason::startup) {
    return;
  }
  failure_departed_ = group.departed();
  failure_awaited_ = hosts_.names(hosts_.unanswered());
  ask_status([this](const StatusQueries::Replies& replies) {
    failure_status_ = find_group(*failed_)->status(replies);
  });
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
      const LaunchedGroup& group = *entry->second;
      if (!is_past(group)) {
        ++entry;
        continue;
      }
      forgotten_victims_ += group.outcome().victims();
      forgotten_barriers_ += group.barriers();
      forgot_cut_short_ = forgot_cut_short_ || is_cut_short(group);
      sink_.notify(handle_, GroupEnded{}, group.number());
      names_.leave(group.name_owner());
      hosts_.send_to_all(wire::agent::ForgetGroup{group.number()});
      entry = groups_.erase(entry);
    }
  });
}

void LaunchDriver::end(std::chrono::milliseconds grace) {
  if (!std::exchange(end_sent_, true)) send_end(grace);
}

// Also for agents that are being started.
void LaunchDriver::send_end(std::chrono::milliseconds grace) {
  agent_->send(wire::agent::kEveryHost, wire::agent::End{static_cast<std::uint32_t>(grace.count())});
}

void LaunchDriver::signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks) {
  // Hosts are still being started, so no rank can get it.
  if (ends_programs(signal) && !first().is_asked()) {
    if (!end_sent_) stop_signal_ = signal;
    return stop(std::chrono::milliseconds::zero());
  }
  for (const auto& [task, group] : groups_) group->outcome().forwarded(signal);
  if (ranks.empty()) return hosts_.send_to_all(wire::agent::Signal{signal, {}});
  send_signal(signal, first(), ranks);
}

void LaunchDriver::send_signal(std::int32_t signal, const LaunchedGroup& group,
                               const std::vector<std::uint32_t>& ranks) {
  std::map<std::uint32_t, wire::agent::Signal> messages;  // by host
  for (const std::uint32_t rank : ranks) {
    if (rank < group.size()) messages[group.host_of(rank)].tasks.push_back(group.first_task() + rank);
  }
  for (auto& [host, message] : messages) {
    message.signal = signal;
    hosts_.send(host, std::move(message));
  }
}

void LaunchDriver::show_status(std::string_view line) {
  hosts_.send(wire::agent::kOwnHost, wire::agent::Status{std::string(wire::cut(line, kMaxStatus))});
}

void LaunchDriver::ask_status(StatusQueries::OnReplies then) {
  const std::set<std::uint32_t> hosts = agent_->alive() ? hosts_.ready_ones() : std::set<std::uint32_t>();
  const std::uint32_t id = status_queries_.add(hosts, std::move(then));
  for (const std::uint32_t host : hosts) hosts_.send(host, wire::agent::QueryStatus{id});
}

void LaunchDriver::query_status(RequestId request) {
  ask_status([this, request](const StatusQueries::Replies& replies) {
    auto reply = std::make_unique<StatusReply>();
    reply->request = request;
    reply->totals = join_counters(replies);
    reply->totals.barriers = forgotten_barriers_;
    reply->awaited = hosts_.names(hosts_.unanswered());
    for (const auto& [task, group] : groups_) {
      reply->groups.emplace(group->number(), group->status(replies));
      reply->totals.barriers += group->barriers();
    }
    sink_.notify(handle_, std::move(reply));
  });
}

void LaunchDriver::ask_inspection(const std::vector<std::uint32_t>& ranks, std::chrono::milliseconds interval,
                                  std::uint32_t stacks, OnInspected then) {
  const std::set<std::uint32_t> ready = agent_->alive() ? hosts_.ready_ones() : std::set<std::uint32_t>();
  std::map<std::uint32_t, wire::agent::Inspect> messages;  // by host
  for (const std::uint32_t rank : ranks) {
    if (rank >= first().size() || !first().runs(rank) || !ready.contains(first().host_of(rank))) continue;
    wire::agent::Inspect& message = messages[first().host_of(rank)];
    message.ranks.push_back(rank);
    if (stacks > 0) {
      ++message.stacks;
      --stacks;
    }
  }
  std::set<std::uint32_t> hosts;
  for (const auto& [host, message] : messages) hosts.insert(host);
  auto join = [then = std::move(then)](InspectQueries::Replies&& replies) mutable {
    std::map<std::uint32_t, wire::agent::InspectedRank> by_rank;
    for (auto& [host, reply] : replies) {
      for (wire::agent::InspectedRank& rank : reply.ranks)
        by_rank.insert_or_assign(rank.rank, std::move(rank));
    }
    std::vector<wire::agent::InspectedRank> inspected;
    inspected.reserve(by_rank.size());
    for (auto& [number, rank] : by_rank) inspected.push_back(std::move(rank));
    then(std::move(inspected));
  };
  const std::uint32_t id = inspect_queries_.add(std::move(hosts), std::move(join));
  for (auto& [host, message] : messages) {
    message.id = id;
    message.interval_ms = static_cast<std::uint32_t>(interval.count());
    hosts_.send(host, std::move(message));
  }
}

void LaunchDriver::inspect(RequestId request, const std::vector<std::uint32_t>& ranks, bool stacks) {
  ask_inspection(ranks, kLookInterval, stacks ? kMaxStacks : 0,
                 [this, request](std::vector<wire::agent::InspectedRank> inspected) {
                   sink_.notify(handle_, Inspection{request, std::move(inspected)});
                 });
}

void LaunchDriver::stop(std::chrono::milliseconds grace) {
  for (const auto& [task, group] : groups_) group->outcome().stopped();
  stopped_ = stopped_ || !end_sent_;
  // Sent again even if the job is ending: the agents take the shorter grace.
  end_sent_ = true;
  send_end(grace);
}

void LaunchDriver::abandon() {
  for (const auto& [task, group] : groups_) group->outcome().stopped();
  if (agent_->hang_up() && agent_->gone()) finish();
}

void LaunchDriver::give_up(const std::string& why) {
  over_ = true;  // what the exception has interrupted is not resumed
  first().outcome().agent_lost(0, why);
  if (!failed_) failed_ = 0;
  finish();
}

void LaunchDriver::arm_timer() {
  if (timer_ != 0) reactor_.cancel(timer_);
  timer_ = 0;
  std::optional<engine::TimePoint> due;
  for (const auto& [task, group] : groups_) {
    const auto next = group->outcome().deadline();
    if (next && (!due || *next < *due)) due = next;
  }
  if (!due) return;
  timer_ = reactor_.at(*due, [this] {
    timer_ = 0;
    for (const auto& [task, group] : groups_) group->outcome().tick(os::Reactor::Clock::now());
    judge();
  });
}

void LaunchDriver::finish() {
  judge();
  // The result is the last notice.
  over_ = true;
  cancel_timers();
  agent_->observe(nullptr);
  status_queries_.lose_all();
  inspect_queries_.lose_all();
  const engine::Outcome& own = first().outcome();
  if (own.failure() && own.failure()->reason == engine::FailureReason::agent &&
      own.failure()->message.empty()) {
    // It ended before the job did, and its exit status does not say why.
    first().outcome().agent_lost(0, "wireup-agent left before the job had ended");
  }
  auto boxed = std::make_unique<LaunchResult>();
  LaunchResult& result = *boxed;
  result.stopped = stopped_ && (forgot_cut_short_ || std::ranges::any_of(groups_, [](const auto& entry) {
                                  return is_cut_short(*entry.second);
                                }));
  if (result.stopped) result.exit_code = kSignalBase + stop_signal_;
  if (failed_) find_group(*failed_)->describe_failure(result);
  if (failed_ || result.stopped) {
    result.victims = forgotten_victims_;
    for (const auto& [task, group] : groups_) result.victims += group->outcome().victims();
  }
  result.status = std::move(failure_status_);
  result.departed = std::move(failure_departed_);
  result.awaited = std::move(failure_awaited_);
  result.late = std::move(late_);
  first().describe_ranks(result);
  for (std::uint32_t host = 0; host < hosts_.count(); ++host) result.hosts.push_back(hosts_.name(host));
  result.duration = now();
  sink_.notify(handle_, std::move(boxed));
  on_end_();
}

}  // namespace wireup::runtime
