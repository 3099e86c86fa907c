// One process group of a launch: the one that the launch was asked for (group 0), or one that a rank has
// spawned. It has the outcome of its ranks, their states, and the times of what happened to them, as the
// agents of its hosts report it. Its PMI servers stand in these agents. It sends nothing itself: LaunchDriver
// passes reports in, and sends the messages that take_messages() returns.
//
// Threads: the reactor's.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/outcome.h"
#include "engine/process_group.h"
#include "os/reactor.h"
#include "runtime/launch_options.h"
#include "runtime/notice.h"
#include "runtime/spanning_barriers.h"
#include "runtime/status_queries.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class LaunchedGroup {
 public:
  using TimePoint = os::Reactor::Clock::time_point;

  // Its ranks are the tasks from `first_task` on. `begin` is the begin of the launch. `name_owner`: the owner
  // of the names that its ranks publish. Throws std::invalid_argument if `options` does not have each of the
  // layout's nodes on one of `hosts` hosts.
  LaunchedGroup(std::uint32_t number, std::uint32_t first_task, GroupOptions options, std::uint32_t hosts,
                engine::OutcomePolicy policy, os::Reactor::Clock::time_point begin,
                engine::Names::Owner name_owner);
  LaunchedGroup(const LaunchedGroup&) = delete;
  LaunchedGroup& operator=(const LaunchedGroup&) = delete;

  std::uint32_t number() const { return options_.group.number; }
  std::uint32_t first_task() const { return options_.group.first_task; }
  std::uint32_t size() const { return options_.layout.size(); }
  bool has(std::uint32_t task) const { return task >= first_task() && task - first_task() < size(); }
  // The host of a rank, and the hosts that have ranks.
  std::uint32_t host_of(std::uint32_t rank) const { return places_[rank]; }
  const std::set<std::uint32_t>& hosts() const { return hosts_; }
  std::vector<std::uint32_t> ranks_on(std::uint32_t host) const;
  const GroupOptions& options() const { return options_; }
  engine::Names::Owner name_owner() const { return name_owner_; }

  // The PMI server on the host is there. When all are, the ranks can be started. Returns false if the host
  // has ranks of the group and was not waited for.
  bool server_ready(std::uint32_t host) { return waiting_hosts_.erase(host) > 0 || !hosts_.contains(host); }
  bool waits_for(std::uint32_t host) const { return waiting_hosts_.contains(host); }
  bool can_start() const { return waiting_hosts_.empty() && !asked_ && !outcome_.must_end(); }
  // The agents have been asked to start all ranks.
  void asked() { asked_ = true; }
  bool is_asked() const { return asked_; }
  // They are asked, or never will be.
  bool all_asked() const { return asked_ || outcome_.must_end(); }
  // Each rank that was asked for has been started, or could not be.
  bool all_answered() const { return !asked_ || answered_ == size(); }
  bool all_started() const { return asked_ && answered_ == size() && started_ == size(); }

  // The rank that was asked for has been started, or could not be.
  bool is_answered(std::uint32_t rank) const { return ranks_[rank].answered; }
  // It has been started and has not exited.
  bool runs(std::uint32_t rank) const { return outcome_.rank(rank).pid != 0 && !outcome_.rank(rank).exited; }

  // Reports of agents about ranks that were asked for. `when` is when it happened, not before the begin.
  // started() returns false if there was a report before.
  bool started(std::uint32_t rank, std::int32_t pid, TimePoint when);
  void start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program);
  const engine::RankOutcome& exited(std::uint32_t rank, engine::RankOutcome how, CpuTimes cpu,
                                    TimePoint when);
  // The host is lost, or was never there.
  void host_lost(engine::LostHost host);
  // Before on_event(). Returns false if no correct agent can report the event now. If there was one of its
  // type of that rank before, `event.again` becomes true, so that the bound of the outbox holds for it.
  bool admit(engine::Event& event);
  // Sets `when` to the time that the result has. Returns false if another host has reported the same event.
  bool on_event(const engine::Event& event, TimePoint& when);
  // The rank waits for one more answer of the launcher, or for one less. add_query() returns false if no rank
  // can wait for so many.
  bool add_query(std::uint32_t rank);
  void answered_query(std::uint32_t rank) { --ranks_[rank].queries; }
  // Returns false if no rank can wait in so many barriers.
  bool on_barrier_query(const wire::agent::BarrierQuery& query);

  // What the reports lead to: which ranks will enter no barrier any more, and answers to barrier queries.
  // Called after every report.
  std::vector<std::pair<std::uint32_t, wire::agent::Message>> take_messages();  // with their hosts
  // Every rank has exited, and it is decided why.
  bool over() const { return all_asked() && all_answered() && outcome_.settled(); }

  // The ranks that have not sent init; and whether the first barrier has been completed.
  std::vector<std::uint32_t> not_initialized() const;
  bool passed_barrier() const { return barriers_ > 0; }
  // How many barriers of all ranks are complete.
  std::uint64_t barriers() const { return barriers_; }
  engine::ProcessGroupStatus status(const StatusQueries::Replies& replies) const;
  // The ranks that will enter no barrier any more, in the order in which they left.
  const std::vector<std::uint32_t>& departed() const { return departed_; }

  // The parts of a launch's result about this group's failure, and about its ranks.
  void describe_failure(LaunchResult& result) const;
  void describe_ranks(LaunchResult& result) const;

  engine::Outcome& outcome() { return outcome_; }
  const engine::Outcome& outcome() const { return outcome_; }

  // Set in a spawned group until its spawner has been answered.
  std::optional<Spawner> spawner;
  // The group could not be started as a whole: its ranks are not part of the launch's outcome.
  bool stillborn = false;

 private:
  struct Rank {
    engine::RankState state = engine::RankState::absent;
    RankTimes times = {};
    CpuTimes cpu = {};
    bool answered = false;        // it was started, or could not be
    bool passed_barrier = false;  // since its last init
    std::optional<TimePoint> exited;
    bool departed = false;
    bool depart_sent = false;                   // its own host has been sent a Depart of it
    std::bitset<engine::kEventTypes + 1> seen;  // types of events, see admit(); the last: a loss
    std::uint32_t queries = 0;
  };

  void answered(std::uint32_t rank);
  void connected(std::uint32_t rank);
  void disconnected(const engine::Event& event);
  void depart(std::uint32_t rank);
  void come_back(std::uint32_t rank);
  void announce(std::uint32_t rank, bool back);
  void send_depart(std::uint32_t host, std::uint32_t rank, bool back);
  void send_answers(const SpanningBarriers::Answers& answers);
  bool has_channels() const { return options_.group.pmi == wire::agent::PmiMode::fd; }
  std::optional<std::uint64_t> barrier_of(const engine::Event& event) const;
  void entered(std::uint32_t rank, std::uint64_t barrier, double time);
  // Milliseconds since the begin of the launch.
  double since_begin(TimePoint when) const;

  GroupOptions options_;
  os::Reactor::Clock::time_point begin_;
  engine::Names::Owner name_owner_;
  std::vector<std::uint32_t> places_;  // the host of each rank
  std::set<std::uint32_t> hosts_;
  std::set<std::uint32_t> waiting_hosts_;  // those whose server is not ready yet
  engine::Outcome outcome_;
  SpanningBarriers spanning_;
  std::vector<Rank> ranks_;
  bool asked_ = false;
  std::uint32_t answered_ = 0;
  std::uint32_t started_ = 0;
  std::uint64_t barriers_ = 0;
  std::vector<double> barrier_times_;
  bool stuck_reported_ = false;
  std::vector<std::uint32_t> departed_;
  std::vector<std::pair<std::uint32_t, wire::agent::Message>> messages_;
};

}  // namespace wireup::runtime
