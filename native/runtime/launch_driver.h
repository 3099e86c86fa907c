// A launch: the group of ranks that it was asked for and those that ranks have spawned, the agent that holds
// the processes of all of them, and the verdict on how it ends. The first failure of any group that could be
// started is the launch's, whose processes are then ended together.
//
// The agent is a child of the owner; the ranks are the agent's. It is told to spawn in batches, the next only
// when the socket took the last, so that PMI traffic is served between them. Events go to `sink` under
// `handle` and the group's number; the last is a LaunchResult or a Error, when no process of the launch is
// left.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/outcome.h"
#include "os/reactor.h"
#include "runtime/agent_link.h"
#include "runtime/launched_group.h"
#include "runtime/notice.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

// Write ends of pipes that the owner reads, in the place of the agent's stdout and stderr or of ranks'.
struct OutputPipes {
  os::UniqueFd out;
  os::UniqueFd err;
  std::vector<os::UniqueFd> rank_out;  // by rank, or none
  std::vector<os::UniqueFd> rank_err;
};

// What every rank has of the process that started the owner.
struct Inheritance {
  std::vector<std::int32_t> ignored_signals = {};  // beside those that the owner ignores
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;        // the soft limit of open files; 0: the owner's
  std::vector<std::int32_t> fds = {};  // of the owner's, above 2, under their own numbers
};

struct LaunchOptions {
  GroupOptions group;
  // Instead of a rank to start: the connection of one that runs, and its process id (runtime/singleton.h). It
  // has ended when its connection has.
  std::shared_ptr<os::UniqueFd> singleton = {};
  std::int32_t singleton_pid = 0;
  std::optional<wire::UnixAddress> name_server;  // that of other launches; absent: names are the launch's own
  Inheritance inheritance;
  AgentOptions agent;  // its stdout and stderr are `pipes`
  wire::agent::OutputPlan out;
  wire::agent::OutputPlan err;
  std::string label;
  std::string spawned_label;  // of spawned groups
  wire::agent::Binding binding;
  std::vector<bool> stdin_readers;  // by rank, those that read the owner's stdin; or none
  std::vector<bool> silent;         // by rank, those whose output is discarded; or none
  std::shared_ptr<OutputPipes> pipes =
      std::make_shared<OutputPipes>();  // shared, since posted functions are copied
  // Put before the program of these ranks: a debugger. Empty: none.
  std::vector<std::string> debugger;
  std::vector<std::uint32_t> debugged;
  engine::OutcomePolicy policy;
  std::chrono::milliseconds grace{5000};  // between TERM and KILL
  // Zero: no limit. The job, from its launch; and until every rank has said init and is out of the first
  // barrier.
  std::chrono::milliseconds timeout{0};
  std::chrono::milliseconds startup_timeout{0};
  os::Reactor::Clock::time_point begin = os::Reactor::Clock::now();  // what all times of the launch are since
};

// The answer to a query of a rank: the group that it has spawned.
struct SpawnOptions {
  Spawner spawner;  // with the errcodes that it is told when all of them have been started
  GroupOptions group;
};

// For OutputPipes: `first` is the owner's end of each. Raises the soft limit of open files where that helps.
// Throws os::OsError.
std::vector<os::FdPair> open_output_pipes(std::size_t count);

class LaunchDriver final : AgentObserver {
 public:
  // `on_end` is called once, after the last notice; it may post this host's destruction, not destroy it.
  // `agent`: one that runs already; null: it is started. `names`: a client of the name server, where
  // there is one; it outlives this host. Throws os::OsError, or Error where the file limit is too low.
  LaunchDriver(os::Reactor& reactor, LaunchOptions options, Handle handle, NoticeSink& sink,
               std::function<void()> on_end, std::unique_ptr<AgentLink> agent, NameClient* names = nullptr);
  ~LaunchDriver() override;

  // To the process groups of these ranks (all when empty) that still run.
  void signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks);
  // A line for the terminal, until ranks write to it; empty: none.
  void show_status(std::string_view line);
  // Starts a group under `number`, which no other has had, and answers who asked for it when all its ranks
  // have been started, or one could not be: then those that were are ended, and a SpawnFailure tells the
  // owner why.
  void spawn(std::uint32_t number, SpawnOptions options);
  // Answers a query otherwise.
  void answer_spawn(const Spawner& spawner, const engine::SpawnAnswer& answer);
  // Ends the job: TERM, after the grace KILL. A second call can only shorten the grace.
  void stop(std::chrono::milliseconds grace);
  // Ends the job without grace; its processes are gone when the agent is.
  void abandon();
  // An exception has left this launch in the middle of something: its result says so, at once, and nothing
  // else may be called any more. Its processes go with it.
  void give_up(const std::string& why);

  // The status of each group, by number.
  std::map<std::uint32_t, engine::ProcessGroupStatus> status() const;

 private:
  void open(std::unique_ptr<AgentLink> agent);
  LaunchedGroup& add_group(std::uint32_t number, GroupOptions options);
  LaunchedGroup& first() { return *groups_.begin()->second; }
  LaunchedGroup* find_group(std::uint32_t number);
  LaunchedGroup* group_of(std::uint32_t task);
  void start_agent(std::unique_ptr<AgentLink> agent);
  void pass_fds();
  void adopt_singleton(LaunchedGroup& group);
  void on_event(LaunchedGroup& group, const engine::Event& event);
  void describe_programs(LaunchedGroup& group);
  void describe_program(std::uint32_t id, wire::agent::Program program);
  void forget_programs(const LaunchedGroup& group);
  std::uint32_t program_of(const LaunchedGroup& group, std::uint32_t rank) const;
  wire::agent::StartRank describe_rank(LaunchedGroup& group, std::uint32_t rank,
                                       std::vector<os::UniqueFd>& fds);
  void send_signal(std::int32_t signal, const std::vector<std::uint32_t>& tasks);
  void start_some();
  void start_some(LaunchedGroup& group);
  void on_agent_message(wire::agent::Message& message) override;
  void on_agent_silent(int error) override;
  void on_agent_exit(const std::string& fault) override;
  void judge();
  void answer_spawner(LaunchedGroup& group);
  void forget_groups();
  void limit(std::chrono::milliseconds delay, engine::FailureReason reason);
  double now() const;
  void end(std::chrono::milliseconds grace);
  void send_end(std::chrono::milliseconds grace);
  void arm_timer();
  void finish();
  void cancel_timers();

  // By first process: ranks have the numbers of their processes one after the other.
  using Groups = std::map<std::uint32_t, std::unique_ptr<LaunchedGroup>>;

  os::Reactor& reactor_;
  LaunchOptions options_;
  Handle handle_;
  NoticeSink& sink_;
  std::function<void()> on_end_;
  NameClient* name_client_;
  std::shared_ptr<engine::Space> space_;  // of all groups
  int channel_fd_;                        // the number of PMI_FD, which none of the passed fds has
  std::shared_ptr<engine::Names> names_ =
      std::make_shared<engine::Names>();  // of all groups, without a name server
  os::Reactor::Clock::time_point begin_ = options_.begin;
  Groups groups_;
  std::uint64_t next_task_ = 0;
  std::uint32_t next_program_ = 0;
  std::optional<std::uint32_t> failed_;  // the number of the group that failed first
  std::unique_ptr<AgentLink> agent_;
  std::int32_t agent_pid_ = 0;  // 0: it has not said it yet
  bool judging_ = false;
  bool judge_again_ = false;
  bool end_sent_ = false;
  bool stopped_ = false;  // the owner ended it before it was over
  bool done_ = false;     // the agent said that nothing of the job is left
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::TimerId forget_timer_ = 0;
  std::vector<os::Reactor::TimerId> limits_;
  std::vector<bool> debugged_;  // of the first group
};

}  // namespace wireup::runtime
