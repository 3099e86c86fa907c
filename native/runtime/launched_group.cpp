#include "runtime/launched_group.h"

#include <utility>

#include "runtime/addresses.h"
#include "runtime/name_client.h"
#include "runtime/rank_environment.h"

namespace wireup::runtime {

LaunchedGroup::LaunchedGroup(os::Reactor& reactor, std::uint32_t number, std::uint32_t first_task,
                             GroupOptions options, engine::OutcomePolicy policy,
                             os::Reactor::Clock::time_point begin, OnEvent on_event,
                             OnSpawnQuery on_spawn_query)
    : number_(number),
      first_task_(first_task),
      options_(std::move(options)),
      begin_(begin),
      on_event_(std::move(on_event)),
      outcome_(options_.group.layout.size(), policy),
      server_(reactor, options_.group, options_.pmi == PmiMode::port ? options_.listen : ListenOptions{},
              callbacks(std::move(on_spawn_query))),
      is_answered_(options_.group.layout.size()),
      times_(options_.group.layout.size()) {
  if (server_.address()) pmi_port_ = wire::to_pmi_port(*server_.address());
}

ServerCallbacks LaunchedGroup::callbacks(OnSpawnQuery on_spawn_query) {
  ServerCallbacks result;
  result.on_event = [this](const engine::Event& event) { on_event(event); };
  result.on_spawn_query = [this, ask = std::move(on_spawn_query)](engine::SpawnQuery query) {
    ask(*this, std::move(query));
  };
  if (options_.names == nullptr) return result;
  result.on_name_query = [this](engine::NameQuery query) {
    options_.names->ask(std::move(query.request), [this, id = query.id, alive = std::weak_ptr(alive_)](
                                                      const engine::NameAnswer& answer) {
      if (!alive.expired()) server_.answer_name(id, answer);
    });
  };
  return result;
}

double LaunchedGroup::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - begin_).count();
}

wire::agent::StartRank LaunchedGroup::describe(std::uint32_t rank, std::vector<os::UniqueFd>& fds) {
  const engine::Layout& layout = options_.group.layout;
  const RankPlace place{rank, layout.size(), layout.local_rank(rank), layout.local_size(rank)};
  wire::agent::StartRank result;
  result.task = first_task_ + rank;
  result.group = number_;
  result.rank = rank;
  const std::uint32_t node = layout.place(rank).node;
  result.node = options_.nodes.empty() ? node : options_.nodes[node];
  if (options_.pmi == PmiMode::fd) {
    fds.push_back(server_.open_channel(rank));
    result.fds.push_back(options_.channel_fd);
    result.environment = channel_environment(place, options_.channel_fd);
  } else {
    result.environment = port_environment(place, pmi_port_, options_.group.auth.pmi_ids[rank].text);
  }
  if (!options_.hosts.empty()) {
    result.host = options_.hosts[node];
    result.pretend_host = options_.pretend_hosts;
    // No look-up finds a pretended name.
    if (!options_.pretend_hosts) result.environment.push_back(host_environment(result.host));
  }
  return result;
}

void LaunchedGroup::started(std::uint32_t rank, std::int32_t pid) {
  outcome_.started(rank, pid);
  times_[rank].started = now();
  server_.runs_as(rank, pid);
  answered(rank);
}

void LaunchedGroup::start_failed(std::uint32_t rank, std::int32_t error, std::string message,
                                 bool no_program) {
  outcome_.start_failed(rank, error, std::move(message), no_program);
  answered(rank);
}

// Once for each rank: the agent may start a rank although sending the message about it seemed to fail.
void LaunchedGroup::answered(std::uint32_t rank) {
  if (is_answered_[rank]) return;
  is_answered_[rank] = true;
  ++answered_;
}

const engine::RankOutcome& LaunchedGroup::exited(std::uint32_t rank, engine::RankOutcome how) {
  times_[rank].exited = now();
  outcome_.exited(rank, how, os::Reactor::Clock::now());
  return outcome_.rank(rank);
}

void LaunchedGroup::on_event(const engine::Event& event) {
  const auto rank = static_cast<std::uint32_t>(event.rank);
  switch (event.type) {
    case engine::EventType::connected:
      times_[rank].connected = now();
      break;
    case engine::EventType::initialized:
      times_[rank].initialized = now();
      outcome_.initialized(rank);
      break;
    case engine::EventType::barrier:
      ++barriers_;
      if (barrier_times_.size() < kMaxBarrierTimes) barrier_times_.push_back(now());
      break;
    case engine::EventType::finalized:
      times_[rank].finalized = now();
      outcome_.finalized(rank);
      break;
    case engine::EventType::aborted:
      outcome_.aborted(rank, event.exit_code, event.message,
                       event.in_barrier ? std::optional(event.barrier) : std::nullopt);
      break;
    case engine::EventType::disconnected:
      outcome_.disconnected(rank, event.lost, event.in_barrier ? std::optional(event.barrier) : std::nullopt,
                            event.message, os::Reactor::Clock::now());
      break;
    case engine::EventType::stuck:
      outcome_.stuck(rank, event.barrier);
      break;
    case engine::EventType::rejected:
    case engine::EventType::protocol_error:
      break;
  }
  on_event_(*this, event);
}

void LaunchedGroup::settle() {
  for (const std::uint32_t rank : outcome_.take_departed()) server_.depart(rank);
  if (!outcome_.failure() || std::exchange(failure_seen_, true)) return;
  const engine::FailureReason reason = outcome_.failure()->reason;
  if (reason != engine::FailureReason::early && reason != engine::FailureReason::timeout &&
      reason != engine::FailureReason::startup) {
    return;
  }
  failure_status_ = server_.group().status();
  departed_ = server_.group().departed();
}

// The first barrier is complete if its number is past 0 or nothing is inside.
bool LaunchedGroup::started_up() const {
  const engine::ProcessGroup& group = server_.group();
  for (const RankTimes& times : times_) {
    if (times.initialized < 0) return false;
  }
  return group.barrier().number() > 0 || !group.barrier().under_way();
}

void LaunchedGroup::describe_failure(LaunchResult& result) const {
  result.failure = outcome_.failure();
  result.failed_group = number_;
  result.exit_code = outcome_.exit_code();
  if (result.failure->rank >= 0)
    result.failed_rank = outcome_.rank(static_cast<std::uint32_t>(result.failure->rank));
  result.status = failure_status_;
  result.departed = departed_;
}

void LaunchedGroup::describe_ranks(LaunchResult& result) const {
  result.barriers = barriers_;
  result.barrier_times = barrier_times_;
  result.ranks = outcome_.ranks();
  result.times = times_;
  for (std::uint32_t rank = 0; rank < size(); ++rank)
    result.states.push_back(server_.group().rank_state(rank));
}

}  // namespace wireup::runtime
