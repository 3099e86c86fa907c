// How a process group ends: tables of reports and the outcome that follows.
#include "engine/outcome.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <optional>
#include <vector>

#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kRanks = 4;

// An Outcome with all ranks started, and short names for reports.
struct Story {
  explicit Story(OutcomePolicy policy = {}) : outcome(kRanks, policy) {
    for (std::uint32_t rank = 0; rank < kRanks; ++rank)
      outcome.started(rank, static_cast<std::int32_t>(100 + rank));
  }
  void init(std::uint32_t rank) { outcome.initialized(rank); }
  void finalize(std::uint32_t rank) { outcome.finalized(rank); }
  void hang_up(std::uint32_t rank, std::optional<std::uint64_t> barrier = {}) {
    outcome.disconnected(rank, true, barrier, {}, now);
  }
  // Under reconnect.
  void hang_up_for_a_while(std::uint32_t rank) { outcome.disconnected(rank, false, {}, {}, now); }
  void exit(std::uint32_t rank, std::int32_t code) { outcome.exited(rank, {.value = code}, now); }
  void signal(std::uint32_t rank, std::int32_t number) {
    outcome.exited(rank, {.signaled = true, .value = number}, now);
  }
  // The rank still ran when the agent began to end the job, and died of its SIGTERM.
  void ended(std::uint32_t rank) {
    outcome.exited(rank, {.signaled = true, .value = SIGTERM, .ended = true}, now);
  }
  // The same, but the rank exited by itself.
  void exit_while_ended(std::uint32_t rank, std::int32_t code) {
    outcome.exited(rank, {.value = code, .ended = true}, now);
  }
  void abort(std::uint32_t rank, std::int32_t code) { outcome.aborted(rank, code, "why", {}); }
  void lose_host(const std::vector<std::uint32_t>& ranks, std::optional<std::uint64_t> barrier = {}) {
    outcome.host_lost({.number = 5, .message = "no sign"}, ranks, barrier);
  }
  void stuck(std::uint32_t rank, std::uint64_t barrier = 0) { outcome.stuck(rank, barrier); }
  void after(milliseconds delay) { outcome.tick(now += delay); }

  Outcome outcome;
  TimePoint now = kStart;
};

struct Verdict {
  bool must_end;
  std::int32_t exit_code;
  std::optional<FailureReason> reason = {};
  std::int32_t rank = -1;
  std::int32_t value = 0;
};

struct Row {
  const char* what;
  std::function<void(Story&)> story;
  Verdict verdict;
};

void check(const Row& row, OutcomePolicy policy = {}) {
  CAPTURE(row.what);
  Story story(policy);
  row.story(story);
  const Outcome& outcome = story.outcome;
  CHECK(outcome.must_end() == row.verdict.must_end);
  CHECK(outcome.exit_code() == row.verdict.exit_code);
  REQUIRE(outcome.failure().has_value() == row.verdict.reason.has_value());
  if (!row.verdict.reason) return;
  CHECK(outcome.failure()->reason == *row.verdict.reason);
  CHECK(outcome.failure()->rank == row.verdict.rank);
  CHECK(outcome.failure()->value == row.verdict.value);
}

using R = FailureReason;

TEST_CASE("outcome: one rank ends while the others run") {
  const Row rows[] = {
      {"with 0, no PMI", [](Story& s) { s.exit(1, 0); }, {false, 0}},
      {"with 0 after finalize",
       [](Story& s) { s.init(1), s.finalize(1), s.hang_up(1), s.exit(1, 0); },
       {false, 0}},
      {"with 3", [](Story& s) { s.exit(1, 3); }, {true, 3, R::exit, 1, 3}},
      {"with 3 after finalize",
       [](Story& s) { s.init(1), s.finalize(1), s.exit(1, 3); },
       {true, 3, R::exit, 1, 3}},
      {"abort with 256, which a shell cannot show",
       [](Story& s) { s.abort(1, 256); },
       {true, 1, R::abort, 1, 256}},
      {"by a signal", [](Story& s) { s.signal(1, SIGSEGV); }, {true, 139, R::signal, 1, SIGSEGV}},
      {"disconnected, then its signal is reported",
       [](Story& s) { s.init(1), s.hang_up(1), s.signal(1, SIGKILL); },
       {true, 137, R::signal, 1, SIGKILL}},
      {"disconnected, then its code is reported",
       [](Story& s) { s.init(1), s.hang_up(1), s.exit(1, 5); },
       {true, 5, R::exit, 1, 5}},
      {"disconnected, then exit with 0",
       [](Story& s) { s.init(1), s.hang_up(1), s.exit(1, 0); },
       {true, 1, R::lost, 1}},
      {"exit with 0, then disconnected",
       [](Story& s) { s.init(1), s.exit(1, 0), s.hang_up(1); },
       {true, 1, R::lost, 1}},
      {"exit with 0, shortly before kSuspicion",
       [](Story& s) { s.init(1), s.exit(1, 0), s.after(milliseconds(199)); },
       {false, 0}},
      {"exit with 0, and its child keeps the connection open",
       [](Story& s) { s.init(1), s.exit(1, 0), s.after(kSuspicion); },
       {true, 1, R::lost, 1}},
      {"exit with 0, then its finalize is read",
       [](Story& s) { s.init(1), s.exit(1, 0), s.finalize(1), s.hang_up(1), s.after(kSuspicion); },
       {false, 0}},
      {"disconnected, and still runs",
       [](Story& s) { s.init(1), s.hang_up(1), s.after(kSuspicion); },
       {true, 1, R::lost, 1}},
      {"disconnected, and may reconnect",
       [](Story& s) { s.init(1), s.hang_up_for_a_while(1), s.after(kSuspicion); },
       {false, 0}},
      {"disconnected, might reconnect, but has exited",
       [](Story& s) { s.init(1), s.hang_up_for_a_while(1), s.exit(1, 0), s.after(kSuspicion); },
       {true, 1, R::lost, 1}},
      {"disconnected before init, and still runs",
       [](Story& s) { s.hang_up(1), s.after(kSuspicion); },
       {false, 0}},
      {"abort", [](Story& s) { s.init(1), s.abort(1, 42); }, {true, 42, R::abort, 1, 42}},
      {"abort, read after the exit that it explains",
       [](Story& s) { s.init(1), s.exit(1, 9), s.abort(1, 42); },
       {true, 42, R::abort, 1, 42}},
      {"not started",
       [](Story& s) { s.outcome.start_failed(1, ENOENT, "x", true); },
       {true, 127, R::spawn, 1, ENOENT}},
      {"not executable",
       [](Story& s) { s.outcome.start_failed(1, EACCES, "x", true); },
       {true, 126, R::spawn, 1, EACCES}},
      {"no such folder",
       [](Story& s) { s.outcome.start_failed(1, ENOENT, "x", false); },
       {true, 1, R::spawn, 1, ENOENT}},
      {"the reader of the output has closed it",
       [](Story& s) { s.outcome.output_lost(EPIPE, "stdout"); },
       {true, 141, R::output, -1, EPIPE}},
      {"a full disk", [](Story& s) { s.outcome.output_lost(ENOSPC, "f"); }, {true, 1, R::output, -1, ENOSPC}},
      {"no memory to start",
       [](Story& s) { s.outcome.start_failed(1, ENOMEM, "x", false); },
       {true, 1, R::spawn, 1, ENOMEM}},
  };
  for (const Row& row : rows) check(row);
}

TEST_CASE("outcome: the first failure in time counts") {
  const Row rows[] = {
      {"two codes", [](Story& s) { s.exit(2, 4), s.exit(1, 3); }, {true, 4, R::exit, 2, 4}},
      {"a victim of the clean-up", [](Story& s) { s.exit(2, 4), s.ended(1); }, {true, 4, R::exit, 2, 4}},
      {"an abort after another rank has disconnected",
       [](Story& s) { s.init(1), s.init(2), s.hang_up(1), s.abort(2, 14), s.signal(1, SIGSEGV); },
       {true, 139, R::signal, 1, SIGSEGV}},
      {"a rank has disconnected, and still ran when the job was ended",
       [](Story& s) { s.init(1), s.init(2), s.hang_up(1), s.abort(2, 14), s.ended(1); },
       {true, 1, R::lost, 1}},
      {"two ranks exit at once: the first to disconnect is the second to report its status",
       [](Story& s) { s.init(1), s.init(2), s.hang_up(1), s.exit(2, 3), s.exit_while_ended(1, 4); },
       {true, 4, R::exit, 1, 4}},
      {"a disconnected rank crashes by itself while the job is ended",
       [](Story& s) {
         s.init(1), s.init(2), s.hang_up(1), s.exit(2, 3);
         s.outcome.exited(1, {.signaled = true, .value = SIGSEGV, .ended = true}, s.now);
       },
       {true, 139, R::signal, 1, SIGSEGV}},
      {"a connected rank that exits while the job is ended is a victim",
       [](Story& s) { s.init(1), s.init(2), s.exit(2, 3), s.exit_while_ended(1, 4); },
       {true, 3, R::exit, 2, 3}},
      {"SIGTERM was forwarded to all: one rank disconnects, another reports its status first, and the agent "
       "reports that it ended the first",
       [](Story& s) {
         s.outcome.forwarded(SIGTERM), s.init(1), s.hang_up(1), s.signal(2, SIGTERM), s.ended(1);
       },
       {true, 143, R::signal, 1, SIGTERM}},
      {"a rank had disconnected and still ran when SIGINT was forwarded",
       [](Story& s) {
         s.outcome.forwarded(SIGINT), s.init(1), s.hang_up(1), s.signal(2, SIGINT), s.ended(1);
       },
       {true, 1, R::lost, 1}},
      {"a rank that disconnects after the abort is a victim",
       [](Story& s) { s.init(1), s.init(2), s.abort(2, 14), s.hang_up(1), s.signal(1, SIGSEGV); },
       {true, 14, R::abort, 2, 14}},
      {"a suspect whose finalize is read in time",
       [](Story& s) { s.init(1), s.exit(1, 0), s.finalize(1), s.exit(2, 7); },
       {true, 7, R::exit, 2, 7}},
      {"a rank that disconnects before init is not a suspect",
       [](Story& s) { s.hang_up(1), s.exit(2, 7); },
       {true, 7, R::exit, 2, 7}},
      {"no failure counts after stopped()",
       [](Story& s) { s.outcome.stopped(), s.exit(1, 3), s.abort(2, 4); },
       {true, 0}},
      {"the agent ends",
       [](Story& s) { s.outcome.agent_lost(0, {}), s.outcome.agent_lost(0, "killed"); },
       {true, 1, R::agent, -1}},
      {"the agent ends after the job has failed",
       [](Story& s) { s.exit(1, 3), s.outcome.agent_lost(0, "killed"); },
       {true, 3, R::exit, 1, 3}},
      {"a host is lost",
       [](Story& s) {
         s.lose_host({2, 3});
       },
       {true, 1, R::host, -1, 5}},
      {"a host without ranks is lost", [](Story& s) { s.lose_host({}); }, {true, 1, R::host, -1, 5}},
      {"a host is lost after the job has failed",
       [](Story& s) { s.exit(1, 3), s.lose_host({2}); },
       {true, 3, R::exit, 1, 3}},
      {"a host is lost with a rank that has disconnected",
       [](Story& s) { s.init(2), s.hang_up(2), s.lose_host({2}); },
       {true, 1, R::host, -1, 5}},
  };
  for (const Row& row : rows) check(row);
}

TEST_CASE("outcome: the ranks of a lost host count as ended, but not as victims") {
  Story s({.end_on_failure = false});
  s.exit(3, 0);
  s.lose_host({2, 3}, 4);
  CHECK(s.outcome.must_end());
  REQUIRE(s.outcome.failure());
  CHECK(s.outcome.failure()->message == "no sign");
  CHECK(s.outcome.failure()->barrier == 4U);
  CHECK_FALSE(s.outcome.rank(2).exited);
  CHECK(s.outcome.rank(2).ended);
  CHECK(s.outcome.rank(3).exited);
  CHECK_FALSE(s.outcome.rank(3).ended);
  // A second report of the host, and one of its rank, change nothing.
  s.lose_host({2, 3});
  s.exit(2, 9);
  CHECK_FALSE(s.outcome.rank(2).exited);
  CHECK_FALSE(s.outcome.settled());
  s.ended(0);
  s.ended(1);
  CHECK(s.outcome.settled());
  CHECK(s.outcome.victims() == 2);
}

TEST_CASE("outcome: a rank leaves while others wait in a barrier") {
  const Row rows[] = {
      {"exit with 0 before init",
       [](Story& s) { s.hang_up(1), s.exit(1, 0), s.stuck(1); },
       {true, 1, R::early, 1}},
      {"finalize", [](Story& s) { s.init(1), s.finalize(1), s.stuck(1); }, {true, 1, R::early, 1}},
      {"exit with 0 without finalize",
       [](Story& s) { s.init(1), s.hang_up(1), s.stuck(1), s.exit(1, 0); },
       {true, 1, R::early, 1}},
      {"disconnected: its status may still arrive",
       [](Story& s) { s.init(1), s.hang_up(1), s.stuck(1); },
       {false, 0}},
      {"a signal",
       [](Story& s) { s.init(1), s.hang_up(1), s.stuck(1), s.signal(1, SIGKILL); },
       {true, 137, R::signal, 1, SIGKILL}},
      {"disconnected, and still runs",
       [](Story& s) { s.init(1), s.hang_up(1), s.stuck(1), s.after(kSuspicion); },
       {true, 1, R::early, 1}},
      {"disconnected before init, and still runs",
       [](Story& s) { s.hang_up(1), s.stuck(1), s.after(kSuspicion); },
       {true, 1, R::early, 1}},
      {"disconnected before init: its status may follow",
       [](Story& s) { s.hang_up(1), s.stuck(1); },
       {false, 0}},
      {"disconnected before init, then 0",
       [](Story& s) { s.hang_up(1), s.stuck(1), s.exit(1, 0); },
       {true, 1, R::early, 1}},
      {"disconnected before init, then a code",
       [](Story& s) { s.hang_up(1), s.stuck(1), s.exit(1, 5); },
       {true, 5, R::exit, 1, 5}},
      {"after stopped()", [](Story& s) { s.outcome.stopped(), s.stuck(1); }, {true, 0}},
  };
  for (const Row& row : rows) check(row);
  const Row waiting[] = {
      {"exit with 0 before init", [](Story& s) { s.hang_up(1), s.exit(1, 0), s.stuck(1); }, {false, 0}},
      {"exit with 0 without finalize is `lost`",
       [](Story& s) { s.init(1), s.hang_up(1), s.stuck(1), s.exit(1, 0); },
       {true, 1, R::lost, 1}},
  };
  for (const Row& row : waiting) check(row, {.end_on_early_exit = false});
}

TEST_CASE("outcome: without end_on_failure the other ranks continue") {
  const OutcomePolicy wait{.end_on_failure = false};
  const Row rows[] = {
      {"a code", [](Story& s) { s.exit(1, 3), s.exit(2, 4); }, {false, 3, R::exit, 1, 3}},
      {"a signal", [](Story& s) { s.signal(1, 9); }, {false, 137, R::signal, 1, 9}},
      {"a loss", [](Story& s) { s.init(1), s.hang_up(1), s.exit(1, 0); }, {false, 1, R::lost, 1}},
      {"but others wait for it", [](Story& s) { s.exit(1, 3), s.stuck(1); }, {true, 3, R::exit, 1, 3}},
      {"others wait for a second",
       [](Story& s) { s.exit(1, 3), s.init(2), s.hang_up(2), s.stuck(2), s.exit(2, 0); },
       {true, 3, R::exit, 1, 3}},
      {"abort", [](Story& s) { s.exit(1, 3), s.abort(2, 4); }, {true, 3, R::exit, 1, 3}},
      {"one cannot be started",
       [](Story& s) { s.outcome.start_failed(1, ENOENT, "x", true); },
       {true, 127, R::spawn, 1, ENOENT}},
      {"time",
       [](Story& s) { s.exit(1, 3), s.outcome.timed_out(R::timeout, milliseconds(5)); },
       {true, 3, R::exit, 1, 3}},
  };
  for (const Row& row : rows) check(row, wait);
}

TEST_CASE("outcome: time limits") {
  check({"job",
         [](Story& s) { s.outcome.timed_out(R::timeout, milliseconds(1500)); },
         {true, 124, R::timeout, -1, 1500}});
  check({"wire-up",
         [](Story& s) { s.outcome.timed_out(R::startup, milliseconds(9)); },
         {true, 124, R::startup, -1, 9}});
}

TEST_CASE("outcome: of 64 ranks that fail at once the first one counts, and the others are not victims") {
  Outcome outcome(64);
  for (std::uint32_t rank = 0; rank < 64; ++rank) outcome.started(rank, 1 + static_cast<std::int32_t>(rank));
  for (std::uint32_t i = 0; i < 64; ++i) outcome.exited((i + 17) % 64, {.value = 3}, kStart);
  REQUIRE(outcome.failure());
  CHECK(outcome.failure()->rank == 17);
  CHECK(outcome.victims() == 0);
  CHECK(outcome.settled());
}

TEST_CASE("outcome: victims are the ranks that ran when the job was ended") {
  Story story;
  story.exit(1, 3);
  story.exit(2, 3);
  story.ended(0);
  CHECK(story.outcome.victims() == 2);  // rank 3 still runs
  story.ended(3);
  CHECK(story.outcome.victims() == 2);
  CHECK(story.outcome.rank(2).pid == 102);
}

TEST_CASE("outcome: a failure has the rank's phase and barrier") {
  Story story;
  story.init(1);
  story.hang_up(1, 7);
  story.signal(1, SIGBUS);
  CHECK(story.outcome.failure()->phase == RankPhase::initialized);
  CHECK(story.outcome.failure()->barrier == 7U);
}

TEST_CASE("outcome: every failure has the reason why the server closed the rank's connection") {
  const auto cut_off = [](const std::function<void(Story&)>& then) {
    Story story;
    story.init(1);
    story.outcome.disconnected(1, true, {}, "it left replies unread", story.now);
    then(story);
    REQUIRE(story.outcome.failure());
    CHECK(story.outcome.failure()->rank == 1);
    return story.outcome.failure()->cut_off;
  };
  CHECK(cut_off([](Story& s) { s.after(kSuspicion); }) == "it left replies unread");
  CHECK(cut_off([](Story& s) { s.exit(1, 7); }) == "it left replies unread");
  CHECK(cut_off([](Story& s) { s.signal(1, SIGABRT); }) == "it left replies unread");
  CHECK(cut_off([](Story& s) { s.abort(1, 7); }) == "it left replies unread");
  CHECK(cut_off([](Story& s) { s.stuck(1), s.after(kSuspicion); }) == "it left replies unread");
  // The reason belongs to an earlier connection.
  CHECK(cut_off([](Story& s) { s.init(1), s.hang_up(1), s.after(kSuspicion); }).empty());
}

TEST_CASE("outcome: take_departed() returns each rank once") {
  using Ranks = std::vector<std::uint32_t>;
  Story story({.end_on_failure = false});
  story.exit(0, 0);
  CHECK(story.outcome.take_departed().empty());  // its last bytes may not have been read yet
  story.hang_up(0);
  CHECK(story.outcome.take_departed() == Ranks{0});
  story.exit(1, 0);
  CHECK(story.outcome.deadline() == kStart + kSuspicion);
  story.after(kSuspicion);
  CHECK(story.outcome.take_departed() == Ranks{1});
  story.exit(2, 4);
  CHECK(story.outcome.take_departed() == Ranks{2});
  story.init(3);
  story.finalize(3);
  story.exit(3, 0);
  CHECK(story.outcome.take_departed() ==
        Ranks{3});  // not before its exit: under reconnect it may start another program
  CHECK(story.outcome.settled());
  CHECK_FALSE(story.outcome.deadline());
}

TEST_CASE("outcome: a job without PMI is over when the last rank has exited") {
  Story story;
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    CHECK_FALSE(story.outcome.settled());
    story.exit(rank, 0);
  }
  CHECK(story.outcome.settled());
}

TEST_CASE("outcome: a job with a suspect is not over") {
  Story story;
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    story.init(rank);
    if (rank != 2) story.finalize(rank);
    story.exit(rank, 0);
  }
  CHECK_FALSE(story.outcome.settled());
  story.finalize(2);
  CHECK(story.outcome.settled());
}

}  // namespace
}  // namespace wireup::engine
