// One group of ranks of a launch: those that it was launched with, or those that a rank has spawned. A job of
// its own: its PMI server, how its ranks end, and when what happened to them. It knows no agent: LaunchDriver
// tells it what the agent says of its ranks.
//
// Threads: the reactor's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/outcome.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/notice.h"
#include "runtime/rank_environment.h"
#include "runtime/server_driver.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

enum class PmiMode : std::uint8_t { fd, port };

struct GroupOptions {
  engine::ProcessGroupOptions group;
  PmiMode pmi = PmiMode::fd;
  ListenOptions listen;                        // used when pmi is port
  std::vector<wire::agent::Program> programs;  // by appnum
  // Names of the layout's nodes; empty: this host's. `pretend_hosts`: the ranks' gethostname() is to say
  // them.
  std::vector<std::string> hosts;
  std::vector<std::uint32_t>
      nodes;  // the numbers that labels and names of files say; empty: the layout's own
  bool pretend_hosts = false;
  NameClient* names = nullptr;  // the launch's
  int channel_fd = kChannelFd;  // the number of PMI_FD
};

// The rank that asked for a group: its own group, and the query that is to be answered.
struct Spawner {
  std::uint32_t group = 0;
  engine::QueryId query = 0;
  std::vector<std::int32_t> errcodes =
      {};  // that it is answered when all ranks of the new group have been started
};

class LaunchedGroup {
 public:
  using OnEvent = std::function<void(LaunchedGroup&, const engine::Event&)>;
  using OnSpawnQuery = std::function<void(LaunchedGroup&, engine::SpawnQuery)>;

  // `number`: 0 for the launch's own. Its ranks are the processes from `first_task` on. `begin`: the
  // launch's. Throws os::OsError when its server cannot listen.
  LaunchedGroup(os::Reactor& reactor, std::uint32_t number, std::uint32_t first_task, GroupOptions options,
                engine::OutcomePolicy policy, os::Reactor::Clock::time_point begin, OnEvent on_event,
                OnSpawnQuery on_spawn_query);

  std::uint32_t number() const { return number_; }
  std::uint32_t first_task() const { return first_task_; }
  std::uint32_t size() const { return options_.group.layout.size(); }
  bool has(std::uint32_t task) const { return task >= first_task_ && task - first_task_ < size(); }

  // What the agent is told of a rank, and the fd of its channel, where it has one.
  wire::agent::StartRank describe(std::uint32_t rank, std::vector<os::UniqueFd>& fds);

  // How many ranks the agent has been asked to start: the next to ask for.
  std::uint32_t asked() const { return asked_; }
  void ask() { ++asked_; }
  bool all_asked() const { return asked_ == size() || outcome_.must_end(); }
  // Each that was asked for has been started, or could not be.
  bool all_answered() const { return answered_ == asked_; }

  // What the agent says of a rank that was asked for.
  void started(std::uint32_t rank, std::int32_t pid);
  void start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program);
  const engine::RankOutcome& exited(std::uint32_t rank, engine::RankOutcome how);

  // Tells the server of the ranks that will enter no barrier any more, and keeps what the ranks were doing
  // when the group failed. After every report.
  void settle();
  // Every rank has exited, and it is decided why.
  bool over() const { return all_asked() && all_answered() && outcome_.settled(); }
  bool started_up() const;

  // The parts of a launch's result that are about its failure, when it is this group's, and about its ranks.
  void describe_failure(LaunchResult& result) const;
  void describe_ranks(LaunchResult& result) const;

  GroupOptions& options() { return options_; }
  const GroupOptions& options() const { return options_; }
  engine::Outcome& outcome() { return outcome_; }
  const engine::Outcome& outcome() const { return outcome_; }
  ServerDriver& server() { return server_; }
  const ServerDriver& server() const { return server_; }

  // Of a spawned group, until its spawner has been answered.
  std::optional<Spawner> spawner;
  // The agent knows its first program by this number, and the others by those that follow.
  std::uint32_t first_program = 0;
  // It could not be started as a whole: its ranks are no part of the launch's outcome.
  bool stillborn = false;

 private:
  void on_event(const engine::Event& event);
  double now() const;

  std::uint32_t number_;
  std::uint32_t first_task_;
  GroupOptions options_;
  os::Reactor::Clock::time_point begin_;
  OnEvent on_event_;
  engine::Outcome outcome_;
  ServerDriver server_;
  std::string pmi_port_;
  std::uint32_t asked_ = 0;
  std::uint32_t answered_ = 0;
  std::vector<RankTimes> times_;
  std::uint64_t barriers_ = 0;
  std::vector<double> barrier_times_;
  bool failure_seen_ = false;
  std::optional<engine::ProcessGroupStatus> failure_status_;
  std::vector<std::uint32_t> departed_;  // then
};

}  // namespace wireup::runtime
