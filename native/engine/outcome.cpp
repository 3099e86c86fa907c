#include "engine/outcome.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace wireup::engine {

void Outcome::started(std::uint32_t rank, std::int32_t pid) {
  ranks_[rank].outcome.pid = pid;
  ++running_;
}

void Outcome::end() {
  ending_ = true;
  suspects_.clear();
}

void Outcome::stopped() { end(); }

Failure Outcome::of_rank(FailureReason reason, std::uint32_t rank, std::int32_t value) const {
  return {.reason = reason,
          .rank = static_cast<std::int32_t>(rank),
          .value = value,
          .phase = ranks_[rank].phase,
          .barrier = ranks_[rank].barrier,
          .cut_off = ranks_[rank].cut_off};
}

void Outcome::fail(Failure failure) {
  if (failure_ && stuck_) end();
  if (failure_ || ending_) return;
  const std::optional<std::uint32_t> suspect = oldest_suspect();
  if (suspect && static_cast<std::int32_t>(*suspect) != failure.rank) {
    failure = of_rank(FailureReason::lost, *suspect, 0);
  }
  failure_ = std::move(failure);
  if (policy_.end_on_failure || stuck_) end();
}

void Outcome::fail_lost(std::uint32_t rank) {
  clear_suspicion(rank);
  if (is_awaited(rank)) {
    Failure failure = of_rank(FailureReason::early, rank, 0);
    failure.barrier = stuck_->barrier;
    return fail(std::move(failure));
  }
  fail(of_rank(FailureReason::lost, rank, 0));
}

void Outcome::start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program) {
  Failure failure = of_rank(FailureReason::spawn, rank, error);
  failure.message = std::move(message);
  failure.no_program = no_program;
  // The others cannot run without this rank, so end_on_failure does not matter.
  fail(std::move(failure));
  end();
}

// Replaces the failure of a rank that disconnected by its exit status, if that gives a reason.
void Outcome::explain(std::uint32_t rank) {
  const RankOutcome& how = ranks_[rank].outcome;
  if (failure_->reason != FailureReason::lost && failure_->reason != FailureReason::early) return;
  if (!how.signaled && how.value == 0) return;
  failure_ = of_rank(how.signaled ? FailureReason::signal : FailureReason::exit, rank, how.value);
}

void Outcome::exited(std::uint32_t rank, const RankOutcome& how, TimePoint now) {
  Rank& entry = ranks_[rank];
  if (entry.outcome.pid == 0 || entry.outcome.exited || entry.out_of_reach) return;
  const std::int32_t pid = entry.outcome.pid;
  entry.outcome = how;
  entry.outcome.pid = pid;
  entry.outcome.exited = true;
  --running_;
  const bool blamed = failure_ && failure_->rank == static_cast<std::int32_t>(rank);
  // The rank failed first and was about to exit when the agent began to end the job. A status that the agent
  // has not caused is the reason of that failure.
  const bool by_agent =
      how.signaled && (how.value == SIGTERM || how.value == SIGKILL) && !forwarded_.contains(how.value);
  if (how.ended && (!blamed || by_agent)) return;
  if (blamed) explain(rank);
  const bool failed = how.signaled || how.value != 0;
  if (failed) fail(of_rank(how.signaled ? FailureReason::signal : FailureReason::exit, rank, how.value));
  if (ending_) return;
  if (failed || entry.phase == RankPhase::finalized) {
    clear_suspicion(rank);
    departed_.push_back(rank);
  } else if (!entry.hung_up) {
    suspect(rank, now);
  } else if (entry.phase == RankPhase::initialized || is_awaited(rank)) {
    // It disconnected without finalize, and its exit status gives no reason.
    fail_lost(rank);
  } else {
    clear_suspicion(rank);
    departed_.push_back(rank);
  }
}

void Outcome::initialized(std::uint32_t rank) {
  ranks_[rank].phase = RankPhase::initialized;
  ranks_[rank].hung_up = false;
  ranks_[rank].cut_off.clear();  // it was about an earlier connection
}

void Outcome::finalized(std::uint32_t rank) {
  ranks_[rank].phase = RankPhase::finalized;
  clear_suspicion(rank);
}

void Outcome::disconnected(std::uint32_t rank, bool lost, std::optional<std::uint64_t> barrier,
                           std::string cut_off, TimePoint now) {
  Rank& entry = ranks_[rank];
  entry.cut_off = std::move(cut_off);
  // It may connect again while its process runs.
  if (entry.phase == RankPhase::initialized && !lost) return;
  entry.hung_up = true;
  entry.barrier = barrier;
  if (entry.phase == RankPhase::finalized || ending_) return;
  const RankOutcome& how = entry.outcome;
  if (!how.exited) {
    suspect(rank, now);
  } else if (how.signaled || how.value != 0) {
    return;
  } else if (entry.phase == RankPhase::initialized) {
    fail_lost(rank);
  } else {
    clear_suspicion(rank);
    departed_.push_back(rank);
  }
}

void Outcome::aborted(std::uint32_t rank, std::int32_t exit_code, std::string message,
                      std::optional<std::uint64_t> barrier) {
  Failure failure = of_rank(FailureReason::abort, rank, exit_code);
  failure.message = std::move(message);
  failure.barrier = barrier;
  // The rank sent abort before it left, so abort is the better reason, even if it is read later.
  const bool explains = failure_ && failure_->rank == failure.rank &&
                        failure_->reason != FailureReason::abort && failure_->reason != FailureReason::spawn;
  if (explains) {
    failure_ = std::move(failure);
  } else {
    fail(std::move(failure));
  }
  // abort ends the job, even if end_on_failure is false.
  end();
}

void Outcome::stuck(std::uint32_t rank, std::uint64_t barrier) {
  if (!policy_.end_on_early_exit || ending_) return;
  stuck_ = Stuck{rank, barrier};
  // Its exit status will follow and give a better reason.
  if (suspected(rank)) return;
  if (failure_) return end();
  Failure failure = of_rank(FailureReason::early, rank, ranks_[rank].outcome.value);
  failure.barrier = barrier;
  fail(std::move(failure));
}

void Outcome::timed_out(FailureReason reason, std::chrono::milliseconds limit) {
  if (!failure_ && !ending_) {
    failure_ = Failure{.reason = reason, .value = limit.count()};
  }
  end();
}

void Outcome::output_lost(std::int32_t error, std::string subject) {
  if (!failure_ && !ending_) {
    failure_ = Failure{.reason = FailureReason::output, .value = error, .message = std::move(subject)};
  }
  end();
}

void Outcome::agent_lost(std::int32_t error, std::string message) {
  if (!failure_ && !ending_) failure_ = Failure{.reason = FailureReason::agent, .value = error};
  if (failure_ && failure_->reason == FailureReason::agent && !message.empty()) {
    failure_->message = std::move(message);
  }
  end();
}

void Outcome::host_lost(LostHost host, const std::vector<std::uint32_t>& ranks,
                        std::optional<std::uint64_t> barrier) {
  if (!failure_ && !ending_) {
    failure_ =
        Failure{.reason = FailureReason::host, .value = host.number, .message = std::move(host.message)};
    failure_->started = host.started;
    failure_->barrier = barrier;
  }
  for (const std::uint32_t rank : ranks) {
    Rank& entry = ranks_[rank];
    if (entry.outcome.pid == 0 || entry.outcome.exited || entry.out_of_reach) continue;
    entry.out_of_reach = true;
    entry.outcome.ended = true;
    --running_;
  }
  // The others cannot go on without these ranks, so end_on_failure does not matter.
  end();
}

void Outcome::tick(TimePoint now) {
  while (!suspects_.empty() && suspects_.front().until <= now) {
    const std::uint32_t rank = suspects_.front().rank;
    const Rank& entry = ranks_[rank];
    if (entry.outcome.exited) departed_.push_back(rank);
    if (entry.phase == RankPhase::initialized || is_awaited(rank)) {
      fail_lost(rank);
    } else {
      clear_suspicion(rank);
    }
  }
}

std::optional<TimePoint> Outcome::deadline() const {
  if (suspects_.empty()) return std::nullopt;
  return suspects_.front().until;
}

std::optional<std::uint32_t> Outcome::oldest_suspect() const {
  for (const Suspect& suspect : suspects_) {
    if (ranks_[suspect.rank].phase == RankPhase::initialized) return suspect.rank;
  }
  return std::nullopt;
}

bool Outcome::is_awaited(std::uint32_t rank) const { return stuck_ && stuck_->rank == rank; }

bool Outcome::suspected(std::uint32_t rank) const {
  return std::ranges::any_of(suspects_, [&](const Suspect& suspect) { return suspect.rank == rank; });
}

void Outcome::suspect(std::uint32_t rank, TimePoint now) {
  if (!suspected(rank)) suspects_.push_back({rank, now + kSuspicion});
}

void Outcome::clear_suspicion(std::uint32_t rank) {
  std::erase_if(suspects_, [&](const Suspect& suspect) { return suspect.rank == rank; });
}

bool Outcome::cut_short() const {
  return std::ranges::any_of(ranks_, [this](const Rank& rank) {
    return rank.outcome.pid == 0 || rank.outcome.ended || (ending_ && !rank.outcome.exited);
  });
}

std::uint32_t Outcome::victims() const {
  std::uint32_t count = 0;
  for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    const RankOutcome& how = ranks_[rank].outcome;
    const bool ended = how.pid != 0 && !ranks_[rank].out_of_reach && (how.ended || (ending_ && !how.exited));
    if (ended && !(failure_ && static_cast<std::int32_t>(rank) == failure_->rank)) ++count;
  }
  return count;
}

std::vector<RankOutcome> Outcome::ranks() const {
  std::vector<RankOutcome> outcomes;
  outcomes.reserve(ranks_.size());
  for (const Rank& rank : ranks_) outcomes.push_back(rank.outcome);
  return outcomes;
}

std::int32_t Outcome::exit_code() const {
  // As timeout(1) exits.
  constexpr std::int32_t kTimedOut = 124;
  if (!failure_) return 0;
  // Only a time limit may need 64 bits.
  const auto value = static_cast<std::int32_t>(failure_->value);
  switch (failure_->reason) {
    case FailureReason::exit:
    case FailureReason::abort:
      return (value & 0xff) != 0 ? value & 0xff : 1;
    case FailureReason::signal:
      return 128 + value;
    case FailureReason::spawn:
      if (!failure_->no_program) return 1;
      if (value == ENOENT) return 127;
      return value == EACCES || value == ENOEXEC ? 126 : 1;
    case FailureReason::timeout:
    case FailureReason::startup:
      return kTimedOut;
    case FailureReason::output:
      return value == EPIPE ? 128 + SIGPIPE : 1;
    case FailureReason::lost:
    case FailureReason::early:
    case FailureReason::agent:
    case FailureReason::host:
      return 1;
  }
  return 1;
}

}  // namespace wireup::engine
