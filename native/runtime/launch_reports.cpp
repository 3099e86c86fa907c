// How LaunchDriver handles the messages of agents. An agent of another host is not trusted to be correct: if
// a message is impossible after those before it, the host is lost. So an agent cannot make the launcher queue
// more than a correct one. Late messages about a process group that is forgotten are ignored.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>
#include <variant>

#include "os/error.h"
#include "runtime/engine_messages.h"
#include "runtime/launch_driver.h"
#include "runtime/nanoseconds.h"
#include "wire/printable.h"

namespace wireup::runtime {

namespace agent = wire::agent;

namespace {

// Bytes of a text about output: more than the path of a file.
constexpr std::size_t kMaxSubject = 8 << 10;

// More than the CPUs of any host.
constexpr std::size_t kMaxCpus = 1 << 16;

// Names of hosts in one message.
constexpr std::size_t kMaxNames = 16;

// What a correct agent sends about a rank.
bool is_valid(const agent::InspectedRank& rank) {
  const auto fits = [](const std::string& text) { return text.size() <= agent::kMaxInspectedText; };
  return rank.pmi <= static_cast<std::uint8_t>(engine::RankState::disconnected) && fits(rank.name) &&
         fits(rank.system_call) && fits(rank.file) && fits(rank.wait_channel) && fits(rank.stack_fault) &&
         rank.stack.size() <= agent::kMaxStack;
}

constexpr const char* kForeignTask = "a report on a rank that it does not have";
constexpr const char* kForeignQuery = "an invalid query, or one of a rank that it does not have";
constexpr const char* kTooManyQueries = "more queries than a rank can have";

}  // namespace

void LaunchDriver::on_agent_message(std::uint32_t host, agent::Message& message) {
  if (!hosts_.is_there(host)) return;
  std::visit(
      [this, host](auto& known) {
        if constexpr (requires { this->handle(host, known); }) handle(host, known);
      },
      message);
  judge();
}

void LaunchDriver::handle(std::uint32_t host, const agent::Ready& ready) {
  if (!hosts_.ready(host, ready)) return distrust(host, "an unexpected ready");
  if (host == agent::kOwnHost) {
    return report_ready();
  }
  sink_.notify(handle_, HostStarted{host, hosts_.name(host), ready.pid, ready.host});
}

// When both have happened: the agent is there, and its server is.
void LaunchDriver::report_ready() {
  const std::int32_t pid = hosts_.pid(agent::kOwnHost);
  if (!server_ready_ || pid == 0 || std::exchange(reported_ready_, true)) return;
  sink_.notify(handle_, AgentReady{pid});
}

void LaunchDriver::handle(std::uint32_t host, const agent::NotTogether& refusal) {
  if (host != agent::kOwnHost || !hosts_.start_singly()) return distrust(host, "an unexpected refusal");
  sink_.notify(handle_, StartedSingly{refusal.reason});
}

void LaunchDriver::handle(std::uint32_t, const agent::HostLost& lost) {
  lose_host({.number = lost.host, .started = lost.was_ready, .message = explain(lost)});
}

// The reason, for people. It names the host that has started this one, and all that have not answered either.
std::string LaunchDriver::explain(const agent::HostLost& lost) const {
  if (lost.host >= hosts_.count()) return lost.message;
  const std::uint32_t parent = hosts_.parent(lost.host);
  if (hosts_.is_lost(parent))
    return "host " + hosts_.name(parent) + ", through which it is reached, was lost";
  std::string text = lost.message;
  if (parent != agent::kOwnHost && !lost.was_ready) text = "from " + hosts_.name(parent) + ": " + text;
  if (!lost.late) return text;
  std::vector<std::uint32_t> others = hosts_.unanswered();
  std::erase(others, lost.host);
  if (others.empty()) return text;
  std::string names;
  for (std::size_t i = 0; i < std::min(others.size(), kMaxNames); ++i)
    names += (i == 0 ? "" : ", ") + hosts_.name(others[i]);
  if (others.size() > kMaxNames) names += " and " + std::to_string(others.size() - kMaxNames) + " more";
  return text + "; no answer of " + names + " either";
}

void LaunchDriver::distrust(std::uint32_t host, const std::string& what) {
  if (host == agent::kOwnHost) return;
  const std::string message = "its agent sent " + what;
  hosts_.send(host, agent::DropHost{message});
  lose_host({.number = host, .message = message});
}

void LaunchDriver::lose_host(const engine::LostHost& lost) {
  const std::uint32_t host = lost.number;
  if (!hosts_.lose(host)) return;
  status_queries_.lose(host);
  inspect_queries_.lose(host);
  std::erase_if(askers_, [&](const auto& entry) { return entry.second.host == host; });
  sink_.notify(handle_,
               HostLost{host, hosts_.name(host), lost.started, lost.message, first().ranks_on(host)});
  for (const auto& [task, group] : groups_) {
    if (group->hosts().contains(host)) group->host_lost(lost);
  }
}

void LaunchDriver::handle(std::uint32_t host, const agent::GroupReady& ready) {
  LaunchedGroup* group = find_group(ready.group);
  if (group == nullptr) return;
  if (!group->server_ready(host)) return distrust(host, "a second PMI server of a process group");
  if (host != agent::kOwnHost || ready.group != 0) return;
  server_ready_ = true;
  report_ready();
}

void LaunchDriver::handle(std::uint32_t host, const agent::GroupFailed& failed) {
  LaunchedGroup* group = find_group(failed.group);
  if (group == nullptr) return;
  if (!group->waits_for(host)) return distrust(host, "an unexpected failure of a process group");
  if (host == agent::kOwnHost && failed.group == 0) return refuse(failed);
  const std::string why = failed.syscall.empty()
                              ? failed.subject
                              : os::OsError(failed.error, failed.syscall, failed.subject).what();
  group->start_failed(group->ranks_on(host).front(), failed.error, why, false);
}

// The launch has not begun: there is no result.
void LaunchDriver::refuse(const agent::GroupFailed& failed) {
  if (reported_ready_) return;
  Error error{failed.error == EMFILE ? "ERR_PMI_FD_LIMIT" : "ERR_PMI_OPTION", failed.subject, failed.error};
  if (!failed.syscall.empty()) {
    error = to_error(std::make_exception_ptr(os::OsError(failed.error, failed.syscall, failed.subject)),
                     "ERR_PMI_LISTEN");
  }
  cancel_timers();
  agent_->observe(nullptr);
  over_ = true;
  sink_.notify(handle_, std::move(error));
  on_end_();
}

LaunchedGroup* LaunchDriver::group_of(std::uint32_t host, std::uint32_t task) {
  const auto next = groups_.upper_bound(task);
  if (next == groups_.begin()) return nullptr;
  LaunchedGroup& group = *std::prev(next)->second;
  const bool known = group.has(task) && group.is_asked() && group.host_of(task - group.first_task()) == host;
  return known ? &group : nullptr;
}

void LaunchDriver::handle(std::uint32_t host, agent::Started& started) {
  LaunchedGroup* group = group_of(host, started.task);
  if (group == nullptr) return distrust(host, kForeignTask);
  const std::uint32_t rank = started.task - group->first_task();
  const os::Reactor::Clock::time_point when = time_of(started.time_ns);
  if (started.pid <= 0 || started.cpus.size() > kMaxCpus || !group->started(rank, started.pid, when))
    return distrust(host, "an impossible start of a rank");
  sink_.notify(handle_, RankStarted{rank, started.pid, std::move(started.cpus)}, group->number(), when);
  if (group->number() == 0 && group->all_started()) starter_.send_processes(*group);
}

void LaunchDriver::handle(std::uint32_t host, const agent::StartFailed& failed) {
  LaunchedGroup* group = group_of(host, failed.task);
  if (group == nullptr) return distrust(host, kForeignTask);
  if (group->is_answered(failed.task - group->first_task()))
    return distrust(host, "a failed start of a rank that it has reported before");
  const os::OsError error(failed.error, failed.syscall, failed.subject);
  group->start_failed(failed.task - group->first_task(), failed.error, error.what(),
                      failed.syscall == "execve");
}

void LaunchDriver::handle(std::uint32_t host, const agent::Exited& exited) {
  LaunchedGroup* group = group_of(host, exited.task);
  if (group == nullptr) return distrust(host, kForeignTask);
  const std::uint32_t rank = exited.task - group->first_task();
  if (!group->runs(rank)) return distrust(host, "the exit of a rank that does not run");
  engine::RankOutcome how;
  how.signaled = exited.signaled;
  how.value = exited.value;
  how.core_dumped = exited.core_dumped;
  how.ended = exited.ended;
  constexpr double kMillisecond = 1000;
  const CpuTimes cpu{static_cast<double>(exited.user_us) / kMillisecond,
                     static_cast<double>(exited.system_us) / kMillisecond};
  const os::Reactor::Clock::time_point when = time_of(exited.time_ns);
  sink_.notify(handle_, RankExited{rank, group->exited(rank, how, cpu, when)}, group->number(), when);
}

void LaunchDriver::handle(std::uint32_t host, agent::Events& events) {
  LaunchedGroup* group = find_group(events.group);
  if (group == nullptr) return;
  // The lowest host that has all hosts of the group below it reports the barriers. It is above each of them.
  const bool is_above = hosts_.is_at_or_above(host, *group->hosts().begin());
  if (!is_above && !group->hosts().contains(host)) return distrust(host, kForeignTask);
  for (agent::EventRecord& record : events.events) {
    const os::Reactor::Clock::time_point when = time_of(record.time_ns);
    auto event = from_message(std::move(record), group->size());
    if (!event) return distrust(host, "an invalid event");
    // Of a rank elsewhere a host can only report that its own ranks wait for it.
    const bool foreign = event->rank >= 0 && group->host_of(static_cast<std::uint32_t>(event->rank)) != host;
    if (foreign && event->type != engine::EventType::stuck) return distrust(host, kForeignTask);
    if (event->type == engine::EventType::barrier && !is_above) return distrust(host, kForeignTask);
    if (!group->admit(*event)) return distrust(host, "an event that cannot follow those before it");
    on_event(*group, *event, when);
  }
}

void LaunchDriver::on_event(LaunchedGroup& group, engine::Event& event, os::Reactor::Clock::time_point when) {
  // Ranks of a group that could not be started are killed while they connect: these are not refusals.
  if (group.stillborn && event.type == engine::EventType::rejected) return;
  if (group.on_event(event, when)) sink_.tell(handle_, event, group.number(), when);
  // Only its parent can know how the singleton ended.
  if (options_.singleton && group.number() == 0 && event.type == engine::EventType::disconnected) {
    sink_.notify(handle_, RankExited{0, group.exited(0, {}, {}, when)}, 0, when);
  }
}

os::Reactor::Clock::time_point LaunchDriver::time_of(std::uint64_t ns) const {
  return std::max(options_.begin, std::min(to_time_point(ns), os::Reactor::Clock::now()));
}

void LaunchDriver::handle(std::uint32_t host, const agent::ClockQuery& query) {
  if (!hosts_.asks_for_time(host)) return distrust(host, "more questions for the time than it may");
  hosts_.send(host, agent::ClockAnswer{query.sent_ns, to_ns(os::Reactor::Clock::now())});
}

void LaunchDriver::handle(std::uint32_t host, const agent::EventsMissed& missed) {
  if (missed.type >= engine::kEventTypes) return distrust(host, "an unknown type of events");
  sink_.notify(handle_, EventsMissed{static_cast<engine::EventType>(missed.type), missed.count});
}

void LaunchDriver::handle(std::uint32_t, agent::TraceLines& lines) {
  if (!options_.hello.trace.on) return;
  sink_.notify(handle_, TraceLines{std::move(lines.lines), lines.records, lines.dropped});
}

void LaunchDriver::handle(std::uint32_t host, agent::SpawnQuery& query) {
  LaunchedGroup* group = find_group(query.group);
  if (group == nullptr) return;
  auto asked = from_message(std::move(query), group->size());
  if (!asked || group->host_of(asked->rank) != host) return distrust(host, kForeignQuery);
  if (!group->add_query(asked->rank)) return distrust(host, kTooManyQueries);
  askers_.emplace(++last_query_, Asker{host, group->number(), asked->rank, asked->id});
  asked->id = last_query_;
  sink_.notify(handle_, *std::move(asked), group->number());
}

void LaunchDriver::handle(std::uint32_t host, agent::NameQuery& query) {
  LaunchedGroup* group = find_group(query.group);
  if (group == nullptr) return;
  auto asked = from_message(std::move(query), group->size());
  if (!asked || group->host_of(asked->rank) != host) return distrust(host, kForeignQuery);
  if (!group->add_query(asked->rank)) return distrust(host, kTooManyQueries);
  const auto answer = [this, host, number = group->number(), rank = asked->rank,
                       id = asked->id](engine::NameAnswer found) {
    if (LaunchedGroup* asker = find_group(number)) asker->answered_query(rank);
    hosts_.send(host, to_message(number, id, std::move(found)));
  };
  if (name_client_ == nullptr) return answer(names_.execute(group->name_owner(), asked->request));
  name_client_->ask(std::move(asked->request),
                    [answer, alive = std::weak_ptr(alive_)](const engine::NameAnswer& found) {
                      if (!alive.expired()) answer(found);
                    });
}

void LaunchDriver::handle(std::uint32_t host, const agent::BarrierQuery& query) {
  LaunchedGroup* group = find_group(query.group);
  if (group == nullptr) return;
  if (query.rank >= group->size() || group->host_of(query.rank) != host) return distrust(host, kForeignQuery);
  if (!group->on_barrier_query(query)) distrust(host, kTooManyQueries);
}

void LaunchDriver::handle(std::uint32_t host, agent::StatusReply& reply) {
  status_queries_.reply(host, std::move(reply));
}

void LaunchDriver::handle(std::uint32_t host, agent::InspectReply& reply) {
  const agent::InspectReply* const before = inspect_queries_.expected(host, reply.id);
  if (before == nullptr) return;
  for (const agent::InspectedRank& rank : reply.ranks) {
    if (rank.rank >= first().size() || first().host_of(rank.rank) != host)
      return distrust(host, kForeignTask);
    if (!is_valid(rank)) return distrust(host, "invalid facts of a rank");
  }
  if (before->ranks.size() + reply.ranks.size() > first().ranks_on(host).size())
    return distrust(host, "facts of more ranks than it has");
  inspect_queries_.reply(host, std::move(reply));
}

void LaunchDriver::handle(std::uint32_t host, const agent::OutputLost& lost) {
  std::string subject(wire::cut(lost.subject, kMaxSubject));
  if (host != agent::kOwnHost) subject += " on " + hosts_.name(host);
  first().outcome().output_lost(lost.error, std::move(subject));
}

// Only the own host's agent has the terminal.
void LaunchDriver::handle(std::uint32_t host, const agent::Printed&) {
  if (host != agent::kOwnHost) return distrust(host, "a report on a terminal that it does not have");
  sink_.notify(handle_, RanksPrinted{});
}

// The agent of the own host is done when all others are.
void LaunchDriver::handle(std::uint32_t host, const agent::Done&) {
  if (host == agent::kOwnHost) done_ = true;
}

void LaunchDriver::on_agent_silent(int error) {
  if (!done_) first().outcome().agent_lost(error, {});
  judge();
  if (agent_->gone()) finish();
}

// Its last messages may still be in the link: the launch ends with the link.
void LaunchDriver::on_agent_exit(const std::string& fault) {
  if (!fault.empty()) first().outcome().agent_lost(0, fault);
  if (agent_->gone()) finish();
}

}  // namespace wireup::runtime
