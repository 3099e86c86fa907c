// One process group of a launch: the one that the launch was asked for (group 0), or one that a rank has
// spawned. It has its PMI server, the outcome of its ranks, and the times of what happened to them. It does
// not know the agent: LaunchDriver passes on the agent's reports about its ranks.
//
// Threads: the reactor's.
#pragma once

#include <functional>
#include <memory>
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

class NameClient;

enum class PmiMode : std::uint8_t { fd, port };

struct GroupOptions {
  engine::ProcessGroupOptions group;
  PmiMode pmi = PmiMode::fd;
  ListenOptions listen;                        // used if pmi is port
  std::vector<wire::agent::Program> programs;  // by appnum
  // Names of the layout's nodes; empty: the name of this host. `pretend_hosts`: gethostname() in the ranks
  // returns these names.
  std::vector<std::string> hosts;
  // The numbers of nodes in labels and file names; empty: the layout's own.
  std::vector<std::uint32_t> nodes;
  bool pretend_hosts = false;
  NameClient* names = nullptr;  // the launch's; must outlive the group
  int channel_fd = kChannelFd;  // the number of PMI_FD
};

// The rank that asked for a process group: its own process group, and its query.
struct Spawner {
  std::uint32_t group = 0;
  engine::QueryId query = 0;
  // Part of the answer when all ranks of the new group have been started.
  std::vector<std::int32_t> errcodes = {};
};

class LaunchedGroup {
 public:
  using OnEvent = std::function<void(LaunchedGroup&, const engine::Event&)>;
  using OnSpawnQuery = std::function<void(LaunchedGroup&, engine::SpawnQuery)>;

  // Its ranks are the tasks from `first_task` on. `begin` is the begin of the launch. Throws os::OsError if
  // its server cannot listen, and std::invalid_argument for options that the engine refuses.
  LaunchedGroup(os::Reactor& reactor, std::uint32_t number, std::uint32_t first_task, GroupOptions options,
                engine::OutcomePolicy policy, os::Reactor::Clock::time_point begin, OnEvent on_event,
                OnSpawnQuery on_spawn_query);

  std::uint32_t number() const { return number_; }
  std::uint32_t first_task() const { return first_task_; }
  std::uint32_t size() const { return options_.group.layout.size(); }
  bool has(std::uint32_t task) const { return task >= first_task_ && task - first_task_ < size(); }

  // What the agent needs to start the rank. The descriptor of the rank's channel, if it has one, is appended
  // to `fds`.
  wire::agent::StartRank describe(std::uint32_t rank, std::vector<os::UniqueFd>& fds);

  // How many ranks the agent has been asked to start, in the order of ranks.
  std::uint32_t asked() const { return asked_; }
  void ask() { ++asked_; }
  bool all_asked() const { return asked_ == size() || outcome_.must_end(); }
  // Each of these has been started, or could not be.
  bool all_answered() const { return answered_ == asked_; }

  // Reports of the agent about ranks that were asked for.
  void started(std::uint32_t rank, std::int32_t pid);
  void start_failed(std::uint32_t rank, std::int32_t error, std::string message, bool no_program);
  const engine::RankOutcome& exited(std::uint32_t rank, engine::RankOutcome how);

  // Called after every report. Reports to the server which ranks will enter no barrier any more, and keeps
  // the status of the ranks when the group fails.
  void settle();
  // Every rank has exited, and it is decided why.
  bool over() const { return all_asked() && all_answered() && outcome_.settled(); }
  // Every rank has sent init and has left its first barrier.
  bool started_up() const;

  // The parts of a launch's result about this group's failure, and about its ranks.
  void describe_failure(LaunchResult& result) const;
  void describe_ranks(LaunchResult& result) const;

  GroupOptions& options() { return options_; }
  const GroupOptions& options() const { return options_; }
  engine::Outcome& outcome() { return outcome_; }
  const engine::Outcome& outcome() const { return outcome_; }
  ServerDriver& server() { return server_; }
  const ServerDriver& server() const { return server_; }

  // Set in a spawned group until its spawner has been answered.
  std::optional<Spawner> spawner;
  // The agent's number for the group's first program; the others follow. Empty until the agent has been sent
  // one of them.
  std::optional<std::uint32_t> first_program;
  // The group could not be started as a whole: its ranks are not part of the launch's outcome.
  bool stillborn = false;

 private:
  ServerCallbacks callbacks(OnSpawnQuery on_spawn_query);
  void on_event(const engine::Event& event);
  void answered(std::uint32_t rank);
  double now() const;

  std::uint32_t number_;
  std::uint32_t first_task_;
  GroupOptions options_;
  os::Reactor::Clock::time_point begin_;
  OnEvent on_event_;
  // Answers of the name server may come after the group has been destroyed.
  std::shared_ptr<void> alive_ = std::make_shared<char>();
  engine::Outcome outcome_;
  ServerDriver server_;
  std::string pmi_port_;
  std::uint32_t asked_ = 0;
  std::uint32_t answered_ = 0;
  std::vector<bool> is_answered_;  // by rank
  std::vector<RankTimes> times_;
  std::uint64_t barriers_ = 0;
  std::vector<double> barrier_times_;
  bool failure_seen_ = false;
  std::optional<engine::ProcessGroupStatus> failure_status_;
  std::vector<std::uint32_t> departed_;  // when the group failed
};

}  // namespace wireup::runtime
