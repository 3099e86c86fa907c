#include "runtime/launched_group.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "engine/limits.h"
#include "runtime/engine_messages.h"

namespace wireup::runtime {
namespace {

// No job completes so many.
constexpr std::uint64_t kMaxBarrier = std::uint64_t{1} << 62;

GroupOptions completed(GroupOptions options, std::uint32_t number, std::uint32_t first_task,
                       std::uint32_t hosts) {
  wire::agent::Group& group = options.group;
  group.number = number;
  group.first_task = first_task;
  group.layout = to_runs(options.layout);
  if (group.nodes.empty()) {
    for (std::uint32_t node = 0; node < options.layout.nodes(); ++node)
      group.nodes.push_back({.number = node});
  }
  if (group.nodes.size() != options.layout.nodes())
    throw std::invalid_argument("nodes: expected one entry for each node of the layout");
  for (const wire::agent::Node& node : group.nodes) {
    if (node.host >= hosts) throw std::invalid_argument("nodes: expected numbers of hosts of the launch");
  }
  return options;
}

std::vector<std::uint32_t> places_of(const GroupOptions& options) {
  std::vector<std::uint32_t> places;
  places.reserve(options.layout.size());
  for (std::uint32_t rank = 0; rank < options.layout.size(); ++rank)
    places.push_back(options.group.nodes[options.layout.place(rank).node].host);
  return places;
}

// Moves a time that is known to that of what came before it, if it is earlier. Returns the later of both.
double after(double before, double& time) {
  if (time >= 0) time = std::max(time, before);
  return std::max(time, before);
}

// The times of one host are exact to each other. Its clock is known less exactly (see
// wire/agent_messages.h), so what a rank does after a barrier may seem to be earlier than an entry on another
// host. This moves it to the time of its cause. `barriers`: when they were complete.
void order_times(std::vector<RankTimes>& ranks, std::vector<double>& barriers) {
  for (std::size_t i = 0; i < barriers.size(); ++i) {
    for (RankTimes& times : ranks) {
      if (i >= times.entered.size()) continue;
      barriers[i] = std::max(barriers[i], after(i == 0 ? 0 : barriers[i - 1], times.entered[i]));
    }
    if (i > 0) barriers[i] = std::max(barriers[i], barriers[i - 1]);
  }
  for (RankTimes& times : ranks) {
    const std::size_t passed = std::min(times.entered.size(), barriers.size());
    if (passed == 0) continue;
    // `entered` also has a barrier that has not completed.
    if (times.entered.size() > passed) after(barriers[passed - 1], times.entered[passed]);
    for (double* time : {&times.finalized, &times.aborted, &times.disconnected, &times.exited})
      after(barriers[passed - 1], *time);
  }
}

}  // namespace

LaunchedGroup::LaunchedGroup(std::uint32_t number, std::uint32_t first_task, GroupOptions options,
                             std::uint32_t hosts, engine::OutcomePolicy policy,
                             os::Reactor::Clock::time_point begin, engine::Names::Owner name_owner)
    : options_(completed(std::move(options), number, first_task, hosts)),
      begin_(begin),
      name_owner_(name_owner),
      places_(places_of(options_)),
      hosts_(places_.begin(), places_.end()),
      waiting_hosts_(hosts_),
      outcome_(size(), policy),
      spanning_(number, options_.layout),
      ranks_(size()) {}

double LaunchedGroup::since_begin(TimePoint when) const {
  return std::chrono::duration<double, std::milli>(when - begin_).count();
}

std::vector<std::uint32_t> LaunchedGroup::ranks_on(std::uint32_t host) const {
  std::vector<std::uint32_t> ranks;
  for (std::uint32_t rank = 0; rank < size(); ++rank) {
    if (places_[rank] == host) ranks.push_back(rank);
  }
  return ranks;
}

bool LaunchedGroup::started(std::uint32_t rank, std::int32_t pid, TimePoint when) {
  if (ranks_[rank].answered) return false;
  outcome_.started(rank, pid);
  ++started_;
  ranks_[rank].times.started = since_begin(when);
  if (has_channels()) connected(rank);
  answered(rank);
  return true;
}

void LaunchedGroup::start_failed(std::uint32_t rank, std::int32_t error, std::string message,
                                 bool no_program) {
  outcome_.start_failed(rank, error, std::move(message), no_program);
  answered(rank);
}

void LaunchedGroup::answered(std::uint32_t rank) {
  if (!std::exchange(ranks_[rank].answered, true)) ++answered_;
}

const engine::RankOutcome& LaunchedGroup::exited(std::uint32_t rank, engine::RankOutcome how, CpuTimes cpu,
                                                 TimePoint when) {
  ranks_[rank].exited = when;
  ranks_[rank].times.exited = since_begin(when);
  ranks_[rank].cpu = cpu;
  outcome_.exited(rank, how, os::Reactor::Clock::now());
  return outcome_.rank(rank);
}

void LaunchedGroup::host_lost(engine::LostHost host) {
  const std::vector<std::uint32_t> ranks = ranks_on(host.number);
  const bool uses_pmi =
      std::ranges::any_of(ranks_, [](const Rank& rank) { return rank.times.initialized >= 0; });
  outcome_.host_lost(std::move(host), ranks, uses_pmi ? std::optional(barriers_) : std::nullopt);
  for (const std::uint32_t rank : ranks) answered(rank);
}

std::optional<std::uint64_t> LaunchedGroup::barrier_of(const engine::Event& event) const {
  return event.in_barrier ? std::optional(event.barrier) : std::nullopt;
}

// What is dropped while the launcher is slow (see is_repeatable()) may be missing, so only events of which a
// rank has one are counted.
bool LaunchedGroup::admit(engine::Event& event) {
  using enum engine::EventType;
  if (event.type == barrier) return event.barrier < kMaxBarrier;
  if (engine::is_repeatable(event)) return true;
  auto& seen = ranks_[static_cast<std::uint32_t>(event.rank)].seen;
  const auto type = static_cast<std::size_t>(event.type);
  constexpr std::size_t kLoss = engine::kEventTypes;
  const bool reconnect = options_.group.reconnect;
  if (event.type == disconnected && event.lost) {
    // The rank cannot connect again.
    if (reconnect || seen[kLoss]) return false;
    seen.set(kLoss);
    if (event.again) return true;
  }
  const bool repeated = seen[type];
  seen.set(type);
  // Under `reconnect` a rank may finalize several times. An abort can come of each connection, and the ranks
  // can be stuck again after one has connected.
  const bool may_repeat =
      event.type == aborted || event.type == stuck || (event.type == finalized && reconnect);
  if (!repeated || !may_repeat) return !repeated;
  event.again = true;
  return true;
}

bool LaunchedGroup::add_query(std::uint32_t rank) {
  std::uint32_t& queries = ranks_[rank].queries;
  if (queries >= engine::kMaxDeferred) return false;
  ++queries;
  return true;
}

bool LaunchedGroup::on_event(const engine::Event& event, TimePoint& when) {
  const auto rank = static_cast<std::uint32_t>(event.rank);
  // The PMI server may read the last of a connection after the exit of the rank.
  if (event.rank >= 0 && ranks_[rank].exited) when = std::min(when, *ranks_[rank].exited);
  const double time = since_begin(when);
  switch (event.type) {
    case engine::EventType::connected:
      ranks_[rank].times.connected = time;
      connected(rank);
      break;
    case engine::EventType::initialized:
      ranks_[rank].state = engine::RankState::initialized;
      ranks_[rank].times.initialized = time;
      outcome_.initialized(rank);
      break;
    case engine::EventType::barrier:
      // One host reports each barrier, in order.
      if (event.barrier < barriers_) return false;
      barriers_ = event.barrier + 1;
      if (barrier_times_.size() < kMaxBarrierTimes) barrier_times_.push_back(time);
      for (Rank& member : ranks_) member.passed_barrier = true;
      break;
    case engine::EventType::finalized:
      ranks_[rank].state = engine::RankState::finalized;
      ranks_[rank].passed_barrier = false;
      ranks_[rank].times.finalized = time;
      outcome_.finalized(rank);
      spanning_.leave(rank);
      // Under `reconnect` the rank's process may start another PMI program.
      if (!options_.group.reconnect) depart(rank);
      break;
    case engine::EventType::aborted:
      ranks_[rank].times.aborted = time;
      outcome_.aborted(rank, event.exit_code, event.message, barrier_of(event));
      break;
    case engine::EventType::disconnected:
      ranks_[rank].times.disconnected = time;
      outcome_.disconnected(rank, event.lost, barrier_of(event), event.message, os::Reactor::Clock::now());
      disconnected(event);
      break;
    case engine::EventType::stuck:
      outcome_.stuck(rank, event.barrier);
      // Every host on which ranks wait reports it.
      return !std::exchange(stuck_reported_, true);
    case engine::EventType::entered:
      entered(rank, event.barrier, time);
      break;
    case engine::EventType::rejected:
    case engine::EventType::protocol_error:
      break;
  }
  return true;
}

void LaunchedGroup::entered(std::uint32_t rank, std::uint64_t barrier, double time) {
  if (barrier >= std::min<std::uint64_t>(options_.group.reported_entries, kMaxBarrierTimes)) return;
  std::vector<double>& times = ranks_[rank].times.entered;
  const auto index = static_cast<std::size_t>(barrier);
  if (index >= times.size()) times.resize(index + 1, -1);
  times[index] = time;
}

// The following functions follow the state of the rank and its departures as engine::ProcessGroup does. That
// of the rank's host knows of a departure before it reports the event that caused it.

void LaunchedGroup::connected(std::uint32_t rank) {
  Rank& entry = ranks_[rank];
  if (entry.departed) come_back(rank);
  const bool resumes = options_.group.reconnect && entry.passed_barrier;
  entry.state = resumes ? engine::RankState::initialized : engine::RankState::connected;
}

void LaunchedGroup::disconnected(const engine::Event& event) {
  const auto rank = static_cast<std::uint32_t>(event.rank);
  Rank& entry = ranks_[rank];
  const bool cannot_return = has_channels() && entry.state == engine::RankState::connected;
  if (entry.state != engine::RankState::finalized) entry.state = engine::RankState::disconnected;
  spanning_.leave(rank);
  if (event.lost || cannot_return) depart(rank);
}

void LaunchedGroup::depart(std::uint32_t rank) {
  if (std::exchange(ranks_[rank].departed, true)) return;
  departed_.push_back(rank);
  if (departed_.size() == 1) announce(rank, false);
  send_answers(spanning_.depart(rank));
}

void LaunchedGroup::come_back(std::uint32_t rank) {
  Rank& entry = ranks_[rank];
  entry.departed = false;
  stuck_reported_ = false;
  spanning_.come_back(rank);
  if (std::exchange(entry.depart_sent, false)) send_depart(places_[rank], rank, true);
  const bool announced = departed_.front() == rank;
  std::erase(departed_, rank);
  if (!announced) return;
  announce(rank, true);
  if (!departed_.empty()) announce(departed_.front(), false);
}

// A host reports that its ranks are stuck if it knows of any rank that has left, so one is enough.
void LaunchedGroup::announce(std::uint32_t rank, bool back) {
  for (const std::uint32_t host : hosts_) {
    if (host != places_[rank]) send_depart(host, rank, back);
  }
}

void LaunchedGroup::send_depart(std::uint32_t host, std::uint32_t rank, bool back) {
  messages_.emplace_back(host, wire::agent::Depart{.group = number(), .ranks = {rank}, .back = back});
}

bool LaunchedGroup::on_barrier_query(const wire::agent::BarrierQuery& query) {
  const auto answers = spanning_.enter(query);
  if (answers) send_answers(*answers);
  return answers.has_value();
}

void LaunchedGroup::send_answers(const SpanningBarriers::Answers& answers) {
  for (const auto& [rank, message] : answers) messages_.emplace_back(places_[rank], message);
}

std::vector<std::pair<std::uint32_t, wire::agent::Message>> LaunchedGroup::take_messages() {
  for (const std::uint32_t rank : outcome_.take_departed()) {
    if (ranks_[rank].departed) continue;
    send_depart(places_[rank], rank, false);
    ranks_[rank].depart_sent = true;
    depart(rank);
  }
  return std::exchange(messages_, {});
}

std::vector<std::uint32_t> LaunchedGroup::not_initialized() const {
  std::vector<std::uint32_t> found;
  for (std::uint32_t rank = 0; rank < size(); ++rank) {
    if (ranks_[rank].times.initialized < 0) found.push_back(rank);
  }
  return found;
}

engine::ProcessGroupStatus LaunchedGroup::status(const StatusQueries::Replies& replies) const {
  std::vector<engine::RankState> states;
  states.reserve(size());
  for (const Rank& rank : ranks_) states.push_back(rank.state);
  engine::ProcessGroupStatus result = join_status(number(), std::move(states), places_, replies);
  const std::size_t listed = result.group_barriers.size();
  for (engine::GroupBarrierStatus& barrier : spanning_.status(engine::kMaxReportedGroupBarriers - listed))
    result.group_barriers.push_back(std::move(barrier));
  result.open_group_barriers += spanning_.open();
  return result;
}

void LaunchedGroup::describe_failure(LaunchResult& result) const {
  result.failure = outcome_.failure();
  result.failed_group = number();
  result.exit_code = outcome_.exit_code();
  if (result.failure->rank >= 0)
    result.failed_rank = outcome_.rank(static_cast<std::uint32_t>(result.failure->rank));
}

void LaunchedGroup::describe_ranks(LaunchResult& result) const {
  result.barriers = barriers_;
  result.barrier_times = barrier_times_;
  result.ranks = outcome_.ranks();
  result.places = places_;
  for (const Rank& rank : ranks_) {
    result.times.push_back(rank.times);
    result.cpu.push_back(rank.cpu);
    result.states.push_back(rank.state);
  }
  order_times(result.times, result.barrier_times);
}

}  // namespace wireup::runtime
