#include "host/rank_group.h"

#include <utility>

#include "host/addresses.h"
#include "host/rank_environment.h"

namespace wireup::host {

RankGroup::RankGroup(os::Reactor& reactor, std::uint32_t number, std::uint32_t first_process,
                     GroupOptions options, job::OutcomePolicy policy, os::Reactor::Clock::time_point begin,
                     OnEvent on_event, OnQuestion on_question)
    : number_(number),
      first_process_(first_process),
      options_(std::move(options)),
      begin_(begin),
      on_event_(std::move(on_event)),
      outcome_(options_.job.layout.size(), policy),
      server_(
          reactor, options_.job, options_.pmi == PmiMode::port ? options_.listen : ListenOptions{},
          [this](const job::Event& event) { this->on_event(event); },
          [this, ask = std::move(on_question)](job::Question question) { ask(*this, std::move(question)); },
          options_.names),
      times_(options_.job.layout.size()) {
  if (server_.address()) pmi_port_ = wire::to_pmi_port(*server_.address());
}

double RankGroup::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - begin_).count();
}

wire::agent::SpawnRank RankGroup::describe(std::uint32_t rank, std::vector<os::UniqueFd>& fds) {
  const job::Layout& layout = options_.job.layout;
  const RankPlace place{rank, layout.size(), layout.local_rank(rank), layout.local_size(rank)};
  wire::agent::SpawnRank result;
  result.process = first_process_ + rank;
  result.group = number_;
  result.rank = rank;
  const std::uint32_t node = layout.place(rank).node;
  result.node = options_.nodes.empty() ? node : options_.nodes[node];
  if (options_.pmi == PmiMode::fd) {
    fds.push_back(server_.open_channel(rank));
    result.fds.push_back(options_.channel_fd);
    result.environment = channel_environment(place, options_.channel_fd);
  } else {
    result.environment = port_environment(place, pmi_port_, options_.job.auth.tokens[rank].text);
  }
  if (!options_.hosts.empty()) {
    result.host = options_.hosts[node];
    result.own_host = options_.own_hosts;
    // A name that is only pretended cannot be looked up.
    if (!options_.own_hosts) result.environment.push_back(host_environment(result.host));
  }
  return result;
}

void RankGroup::started(std::uint32_t rank, std::int32_t pid) {
  outcome_.started(rank, pid);
  times_[rank].started = now();
  server_.runs_as(rank, pid);
  ++answered_;
}

void RankGroup::spawn_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program) {
  outcome_.spawn_failed(rank, error, std::move(message), no_program);
  ++answered_;
}

const job::RankOutcome& RankGroup::exited(std::uint32_t rank, job::RankOutcome how) {
  times_[rank].exited = now();
  outcome_.exited(rank, how, os::Reactor::Clock::now());
  return outcome_.rank(rank);
}

void RankGroup::on_event(const job::Event& event) {
  const auto rank = static_cast<std::uint32_t>(event.rank);
  switch (event.type) {
    case job::EventType::connected:
      times_[rank].connected = now();
      break;
    case job::EventType::initialized:
      times_[rank].initialized = now();
      outcome_.initialized(rank);
      break;
    case job::EventType::barrier:
      ++barriers_;
      if (barrier_times_.size() < kMaxBarrierTimes) barrier_times_.push_back(now());
      break;
    case job::EventType::finalized:
      times_[rank].finalized = now();
      outcome_.finalized(rank);
      break;
    case job::EventType::aborted:
      outcome_.aborted(rank, event.exit_code, event.message,
                       event.in_barrier ? std::optional(event.barrier) : std::nullopt);
      break;
    case job::EventType::disconnected:
      outcome_.disconnected(rank, event.lost, event.in_barrier ? std::optional(event.barrier) : std::nullopt,
                            event.message, os::Reactor::Clock::now());
      break;
    case job::EventType::stuck:
      outcome_.stuck(rank, event.barrier);
      break;
    case job::EventType::rejected:
    case job::EventType::protocol_error:
      break;
  }
  on_event_(*this, event);
}

void RankGroup::settle() {
  for (const std::uint32_t rank : outcome_.take_departed()) server_.depart(rank);
  if (!outcome_.failure() || std::exchange(failure_seen_, true)) return;
  const job::FailureReason reason = outcome_.failure()->reason;
  if (reason != job::FailureReason::early && reason != job::FailureReason::timeout &&
      reason != job::FailureReason::wireup) {
    return;
  }
  failure_status_ = server_.job().status();
  departed_ = server_.job().departed();
}

// Whoever has come past its first barrier has been let go by all others.
bool RankGroup::wired_up() const {
  const job::Job& job = server_.job();
  for (const RankTimes& times : times_) {
    if (times.initialized < 0) return false;
  }
  return job.barrier().number() > 0 || !job.barrier().under_way();
}

void RankGroup::describe_failure(LaunchResult& result) const {
  result.failure = outcome_.failure();
  result.failed_group = number_;
  result.exit_code = outcome_.exit_code();
  if (result.failure->rank >= 0)
    result.failed_rank = outcome_.rank(static_cast<std::uint32_t>(result.failure->rank));
  result.status = failure_status_;
  result.departed = departed_;
}

void RankGroup::describe_ranks(LaunchResult& result) const {
  result.barriers = barriers_;
  result.barrier_times = barrier_times_;
  result.ranks = outcome_.ranks();
  result.times = times_;
  for (std::uint32_t rank = 0; rank < size(); ++rank) result.states.push_back(server_.job().rank_state(rank));
}

}  // namespace wireup::host
