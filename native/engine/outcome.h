// Decides how a process group ends: which failure was the first, whether it ends the other ranks, and the
// exit code. Its inputs are reports of the agent and of the PMI server. It uses no clock and no process.
//
// The first failure is the first in time. That is not the order of the reports: a process closes its fds
// before its exit status can be read, and the last bytes that it sent may still be in a socket when its
// status arrives. So a rank that disconnects without finalize, or exits with 0 before its finalize was read,
// becomes a *suspect* for kSuspicion. If its status or its finalize arrives in that time, that decides. If
// another rank fails in that time, the oldest suspect takes the blame, because the other rank may have failed
// as a consequence; the suspect's exit status then gives the reason. A rank that the agent has ended never
// takes the blame.
//
// After every report the caller must call take_departed() and pass these ranks to ProcessGroup::depart():
// they will enter no barrier any more. If other ranks wait for them, the process group reports an event
// `stuck`, which the caller passes to stuck().
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/time.h"

namespace wireup::engine {

inline constexpr std::chrono::milliseconds kSuspicion{200};

enum class FailureReason : std::uint8_t {
  exit,     // a rank exited with a code other than 0
  signal,   // a rank was killed by a signal
  abort,    // a rank sent abort
  lost,     // a rank disconnected between init and finalize, and its exit status does not explain it
  early,    // a rank has left, and others wait for it in a barrier
  spawn,    // a rank could not be started
  timeout,  // the job exceeded its time limit
  startup,  // not every rank sent init and completed the first barrier in time
  output,   // output cannot be written
  agent,    // the agent has ended
  host,     // another host is lost, or could not be reached
};

// How far a rank has come in PMI. The end of its connection does not change it.
enum class RankPhase : std::uint8_t { none, initialized, finalized };

struct Failure {
  FailureReason reason;
  std::int32_t rank = -1;
  // exit, abort, early: the exit code. signal: the signal. spawn, output, agent: errno. timeout, startup: the
  // limit in milliseconds. host: its number.
  std::int64_t value = 0;
  std::string message = {};  // abort: its message. spawn, output, agent: what failed. host: why
  bool no_program = false;   // spawn: the program cannot be executed
  bool started = true;       // host: whether its agent had ever answered
  RankPhase phase = RankPhase::none;
  // exit, signal, abort, lost: the barrier in which the rank waited. early: the barrier that waits for the
  // rank. host: the first barrier that was not completed.
  std::optional<std::uint64_t> barrier = {};
  // Why the server closed the rank's connection before the failure; empty: it did not.
  std::string cut_off = {};
};

struct LostHost {
  std::uint32_t number = 0;
  bool started = true;  // its agent had answered
  std::string message = {};
};

struct RankOutcome {
  std::int32_t pid = 0;  // 0: never started
  bool exited = false;
  bool signaled = false;
  std::int32_t value = 0;  // the exit code, or the signal if `signaled`
  bool core_dumped = false;
  bool ended = false;  // it still ran when the agent began to end the job
};

struct OutcomePolicy {
  // End the other ranks after a failure.
  bool end_on_failure = true;
  // End them if they wait in a barrier for a rank that has left, even if end_on_failure is false: they would
  // wait for ever.
  bool end_on_early_exit = true;
};

class Outcome {
 public:
  explicit Outcome(std::uint32_t size, OutcomePolicy policy = {}) : policy_(policy), ranks_(size) {}

  void started(std::uint32_t rank, std::int32_t pid);
  // `no_program`: the program itself cannot be executed. `error` is the errno.
  void start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program);
  void exited(std::uint32_t rank, const RankOutcome& how, TimePoint now);
  // Under `reconnect` this may follow finalize, if the rank's process starts another PMI program.
  void initialized(std::uint32_t rank);
  void finalized(std::uint32_t rank);
  // `lost`: between init and finalize, and the rank may not connect again. `barrier`: the one in which it
  // waited. `cut_off`: why the server closed the connection; empty: the rank closed it.
  void disconnected(std::uint32_t rank, bool lost, std::optional<std::uint64_t> barrier, std::string cut_off,
                    TimePoint now);
  void aborted(std::uint32_t rank, std::int32_t exit_code, std::string message,
               std::optional<std::uint64_t> barrier);
  // Ranks wait in the barrier for this rank, which has left.
  void stuck(std::uint32_t rank, std::uint64_t barrier);
  // `reason` is timeout or startup.
  void timed_out(FailureReason reason, std::chrono::milliseconds limit);
  // Output could not be written to `subject`. `error` is the errno.
  void output_lost(std::int32_t error, std::string subject);
  // The agent has ended, so there are no further reports of ranks. A later call with a message adds it to the
  // first.
  void agent_lost(std::int32_t error, std::string message);
  // The host is lost, or could not be reached. `ranks` are those on it; the ones that run
  // count as ended, and there are no further reports of them. `barrier`: the first that is not completed.
  void host_lost(LostHost host, const std::vector<std::uint32_t>& ranks,
                 std::optional<std::uint64_t> barrier);
  // The launcher has sent this signal to ranks. If a rank disconnected and died of it, the signal is the
  // reason, even if the agent was already ending the job and reports that it killed the rank.
  void forwarded(std::int32_t signal) { forwarded_.insert(signal); }
  // The launcher ends the job. From now on no exit status is a failure.
  void stopped();

  void tick(TimePoint now);
  std::optional<TimePoint> deadline() const;
  std::vector<std::uint32_t> take_departed() { return std::exchange(departed_, {}); }

  // True if the ranks that still run must be ended.
  bool must_end() const { return ending_; }
  // True if every rank that was started has exited or is out of reach, and there is no suspect.
  bool settled() const { return running_ == 0 && !oldest_suspect(); }

  const std::optional<Failure>& failure() const { return failure_; }
  // True if some ranks were ended or not started, so that the job did not end by itself.
  bool cut_short() const;
  // How many ranks, without the failed one and those on lost hosts, still ran when the job was ended.
  std::uint32_t victims() const;
  const RankOutcome& rank(std::uint32_t rank) const { return ranks_[rank].outcome; }
  std::vector<RankOutcome> ranks() const;
  // 0 without a failure. exit, abort: the code's low byte, as a shell shows it, or 1 if that is 0. signal:
  // 128 + signal. timeout, startup: 124. spawn: 127 if the program was not found, 126 if it cannot be
  // executed. output: 128 + SIGPIPE if the reader has closed the pipe. Otherwise 1.
  std::int32_t exit_code() const;

 private:
  struct Rank {
    RankOutcome outcome = {};
    RankPhase phase = RankPhase::none;
    bool hung_up = false;
    bool out_of_reach = false;                  // it ran when its host was lost
    std::optional<std::uint64_t> barrier = {};  // in which it waited when it disconnected
    std::string cut_off = {};
  };
  // A rank of which another report may still come. An initialized one may turn out to be lost.
  struct Suspect {
    std::uint32_t rank;
    TimePoint until;
  };
  struct Stuck {
    std::uint32_t rank;
    std::uint64_t barrier;
  };

  void fail(Failure failure);
  void fail_lost(std::uint32_t rank);
  void explain(std::uint32_t rank);
  void end();
  Failure of_rank(FailureReason reason, std::uint32_t rank, std::int32_t value) const;
  std::optional<std::uint32_t> oldest_suspect() const;
  bool suspected(std::uint32_t rank) const;
  // Whether stuck() has named the rank.
  bool is_awaited(std::uint32_t rank) const;
  void suspect(std::uint32_t rank, TimePoint now);
  void clear_suspicion(std::uint32_t rank);

  OutcomePolicy policy_;
  std::vector<Rank> ranks_;
  std::vector<Suspect> suspects_;  // ordered by `until`
  std::vector<std::uint32_t> departed_;
  std::uint32_t running_ = 0;
  std::optional<Stuck> stuck_;
  std::optional<Failure> failure_;
  std::set<std::int32_t> forwarded_;
  bool ending_ = false;
};

}  // namespace wireup::engine
