// A launch: group 0 and the process groups that ranks have spawned, the agent that holds the processes of all
// of them, and the verdict on how the launch ends. The first failure of a group that could be started is the
// failure of the launch, whose processes are then ended together.
//
// The agent is a child of the calling process; the ranks are children of the agent. Notices go to `sink`
// under `handle` and the number of the group. The last one is a LaunchResult, when no process of the launch
// is left.
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
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/agent_link.h"
#include "runtime/launch_options.h"
#include "runtime/launched_group.h"
#include "runtime/notice.h"
#include "runtime/rank_starter.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class LaunchDriver final : AgentObserver {
 public:
  // What a launch uses and does not own.
  struct Parts {
    os::Reactor& reactor;
    Reaper& reaper;
    NoticeSink& sink;
    Handle handle;
    // An agent that runs already; null: the launch starts one.
    std::unique_ptr<AgentLink> agent = nullptr;
    // The client of the name server, if there is one.
    NameClient* names = nullptr;
    // The connection of options.singleton, if there is one.
    os::UniqueFd singleton = {};
  };

  // `on_end` is called once, after the last notice. It may post the destruction of the driver but must not
  // destroy it. Throws os::OsError, std::invalid_argument, or Error if the limit of open files is too low.
  LaunchDriver(Parts parts, LaunchOptions options, std::function<void()> on_end);
  ~LaunchDriver() override;

  // Sends the signal to the POSIX process groups of these ranks of group 0 that still run; without ranks, to
  // those of all groups.
  void signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks);
  // Shows a line on the terminal until ranks write to it; an empty one removes it.
  void show_status(std::string_view line);
  // Starts a process group under `number`, which no other has had. When all its ranks have been started, its
  // spawner is answered. If one could not be, the others are ended, the spawner gets an error, and a
  // SpawnFailure gives the reason.
  void spawn(std::uint32_t number, SpawnOptions options);
  // Gives a spawner another answer.
  void answer_spawn(const Spawner& spawner, const engine::SpawnAnswer& answer);
  // Ends the launch: TERM, and KILL after the grace. A second call can only shorten the grace.
  void stop(std::chrono::milliseconds grace);
  // Ends the launch without grace. Its processes are gone when the agent is.
  void abandon();
  // For a launch that an exception has interrupted: reports the result at once. No other method may be called
  // afterwards. The processes end when the driver is destroyed.
  void give_up(const std::string& why);

  // The status of each group, by number.
  std::map<std::uint32_t, engine::ProcessGroupStatus> status() const;

 private:
  // By first task: the tasks of a group have successive numbers.
  using Groups = std::map<std::uint32_t, std::unique_ptr<LaunchedGroup>>;

  void open(std::unique_ptr<AgentLink> agent, os::UniqueFd singleton);
  LaunchedGroup& add_group(std::uint32_t number, GroupOptions options);
  void remove_group(LaunchedGroup& group);
  LaunchedGroup& first() { return *groups_.begin()->second; }
  LaunchedGroup* find_group(std::uint32_t number);
  LaunchedGroup* group_of(std::uint32_t task);
  void start_agent(std::unique_ptr<AgentLink> agent);
  void adopt_singleton(LaunchedGroup& group, os::UniqueFd connection);
  void on_event(LaunchedGroup& group, const engine::Event& event);
  void send_signal(std::int32_t signal, const std::vector<std::uint32_t>& tasks);
  void start_some();
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

  os::Reactor& reactor_;
  Reaper& reaper_;
  NoticeSink& sink_;
  Handle handle_;
  LaunchOptions options_;
  std::function<void()> on_end_;
  NameClient* name_client_;
  std::shared_ptr<engine::Space> space_;  // of all groups
  int channel_fd_;                        // the number of PMI_FD, which none of the passed descriptors has
  // Of all groups; used without a name server.
  std::shared_ptr<engine::Names> names_ = std::make_shared<engine::Names>();
  Groups groups_;
  std::uint64_t next_task_ = 0;
  std::optional<std::uint32_t> failed_;  // the number of the group that failed first
  std::unique_ptr<AgentLink> agent_;
  std::optional<RankStarter> starter_;
  std::int32_t agent_pid_ = 0;  // 0: not known yet
  bool judging_ = false;
  bool judge_again_ = false;
  bool end_sent_ = false;
  bool stopped_ = false;  // stop() was called before the launch was over
  bool done_ = false;     // the agent has reported that nothing of the job is left
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::TimerId forget_timer_ = 0;
  std::vector<os::Reactor::TimerId> limits_;
};

}  // namespace wireup::runtime
