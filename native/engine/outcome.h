// How a job ends: which failure was the first, whether the others must be ended because of it, and the exit
// code that follows. Reports of the agent and of the PMI server in, a verdict out; no clock, no process.
//
// First means first in time. A process closes its fds before its exit status can be read, and its last words
// may still lie in a socket when the status comes. So a rank that hung up without finalize, or exited with 0
// before it said finalize, is a suspect until kSuspicion has passed: what comes in that time (its status, its
// finalize) decides. Where another rank fails meanwhile, the oldest suspect is to blame, since the other may
// have failed because of it; its status, when it comes, then says why. What the agent ended is never to
// blame.
//
// The caller asks take_departed() after every report and tells the ProcessGroup of these ranks: they will
// enter no barrier any more. The ProcessGroup answers with stuck() when others wait for them.
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
  abort,    // a rank said abort
  lost,     // a rank left PMI between init and finalize and its status does not say why
  early,    // a rank left, and others wait for it in a barrier
  spawn,    // a rank could not be started
  timeout,  // the job took longer than it may
  startup,  // the ranks did not find each other in time
  output,   // where the ranks write takes no more
  agent,    // the agent is gone
};

// How far a rank has come in PMI, whatever became of its connection.
enum class RankPhase : std::uint8_t { none, initialized, finalized };

struct Failure {
  FailureReason reason;
  std::int32_t rank = -1;
  // Exit code (exit, abort, early), signal (signal), errno (spawn, agent, output), limit in milliseconds
  // (timeout, wireup).
  std::int64_t value = 0;
  std::string message = {};  // abort's message; what failed (spawn, agent, output)
  bool no_program = false;   // spawn: it is the program that cannot be executed
  RankPhase phase = RankPhase::none;
  // The barrier that the rank itself was in (exit, signal, abort, lost), or that waits for it (early).
  std::optional<std::uint64_t> barrier = {};
  // Why the server cut off the rank's connection, before it failed; empty: it did not.
  std::string cut_off = {};
};

struct RankOutcome {
  std::int32_t pid = 0;  // 0: never started
  bool exited = false;
  bool signaled = false;
  std::int32_t value = 0;  // exit code or signal
  bool core_dumped = false;
  bool ended = false;  // it ran when the agent began to end the job
};

struct OutcomePolicy {
  bool end_on_failure = true;
  // Also when another failure did not end the job: who waits for a rank that has left waits for ever.
  bool end_on_early_exit = true;
};

class Outcome {
 public:
  explicit Outcome(std::uint32_t size, OutcomePolicy policy = {}) : policy_(policy), ranks_(size) {}

  void started(std::uint32_t rank, std::int32_t pid);
  // `no_program`: the error says why the program cannot be executed.
  void start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program);
  void exited(std::uint32_t rank, const RankOutcome& how, TimePoint now);
  // Under reconnect also after finalize: another program of the rank's process.
  void initialized(std::uint32_t rank);
  void finalized(std::uint32_t rank);
  // `lost`: between init and finalize, and it may not come back. `barrier`: the one that it waited in.
  // `cut_off`: why the server has ended the connection; empty: the rank hung up.
  void disconnected(std::uint32_t rank, bool lost, std::optional<std::uint64_t> barrier, std::string cut_off,
                    TimePoint now);
  void aborted(std::uint32_t rank, std::int32_t exit_code, std::string message,
               std::optional<std::uint64_t> barrier);
  // Ranks wait in the barrier for one that has left.
  void stuck(std::uint32_t rank, std::uint64_t barrier);
  // `reason` is timeout or wireup.
  void timed_out(FailureReason reason, std::chrono::milliseconds limit);
  // `subject` takes no more output.
  void output_lost(std::int32_t error, std::string subject);
  // Once the agent is gone nothing more is known of the ranks. A later call with a message completes the
  // first.
  void agent_lost(std::int32_t error, std::string message);
  // The owner had this signal sent to ranks. A rank that hung up and dies of it is explained by it, also when
  // the agent, which was already ending the job, takes that death for its own doing.
  void forwarded(std::int32_t signal) { forwarded_.insert(signal); }
  // The owner ends the job: what the ranks exit with from now on is nobody's failure.
  void stopped();

  void tick(TimePoint now);
  std::optional<TimePoint> deadline() const;
  std::vector<std::uint32_t> take_departed() { return std::exchange(departed_, {}); }

  // True once it is decided that the ranks that still run are to be ended.
  bool must_end() const { return ending_; }
  // True when every rank that was started has exited and no suspicion of a loss is open.
  bool settled() const { return running_ == 0 && !oldest_suspect(); }

  const std::optional<Failure>& failure() const { return failure_; }
  // Whether the end of the job was not the ranks' own doing: some were ended, or never started.
  bool cut_short() const;
  // How many ranks, beside one that failed, ran when the job was ended.
  std::uint32_t victims() const;
  const RankOutcome& rank(std::uint32_t rank) const { return ranks_[rank].outcome; }
  std::vector<RankOutcome> ranks() const;
  // 0; the failing rank's code or abort's (its low byte, as the shell would see it; 1 where that is 0) or
  // 128 + signal; 124 when a time limit passed; 127 or 126 for a program not found or not executable; 128 +
  // SIGPIPE when whoever read the output has gone; 1 for the rest.
  std::int32_t exit_code() const;

 private:
  struct Rank {
    RankOutcome outcome = {};
    RankPhase phase = RankPhase::none;
    bool hung_up = false;
    std::optional<std::uint64_t> barrier = {};  // that it was in when it hung up
    std::string cut_off = {};
  };
  // A rank whose last words may be on their way. One that was initialized is suspected to be lost.
  struct Open {
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
  void open(std::uint32_t rank, TimePoint now);
  void close(std::uint32_t rank);

  OutcomePolicy policy_;
  std::vector<Rank> ranks_;
  std::vector<Open> open_;  // in the order of their times
  std::vector<std::uint32_t> departed_;
  std::uint32_t running_ = 0;
  std::optional<Stuck> stuck_;
  std::optional<Failure> failure_;
  std::set<std::int32_t> forwarded_;
  bool ending_ = false;
};

}  // namespace wireup::engine
