// A launch: group 0 and the process groups that ranks have spawned, the agents of their hosts, and the
// verdict on how the launch ends. The first failure of a group that could be started is the failure of the
// launch, whose processes are then ended together.
//
// The agent of the calling process's own host is its child; it starts the agents of the other hosts. Each
// agent has the PMI servers of its ranks, which are its children. What concerns several hosts is here: names,
// barrier groups that span hosts, and the answers to spawns.
//
// Notices go to `sink` under `handle` and the number of the group. AgentReady is the first; if the PMI server
// of group 0 cannot be made on the own host, an Error comes instead, and nothing after it. Otherwise the last
// one is a LaunchResult, when no process of the launch is left.
//
// launch_reports.cpp has the functions that handle the agents' messages.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/names.h"
#include "engine/outcome.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/agent_link.h"
#include "runtime/hosts.h"
#include "runtime/launch_options.h"
#include "runtime/launched_group.h"
#include "runtime/name_client.h"
#include "runtime/notice.h"
#include "runtime/rank_starter.h"
#include "runtime/status_queries.h"
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
  // Starts a process group under `number`, which no other has had, and its hosts that do not run yet. When
  // all its ranks have been started, its spawner is answered. If one could not be, the others are ended, the
  // spawner gets an error, and a SpawnFailure gives the reason.
  void spawn(std::uint32_t number, SpawnOptions options);
  // Gives a spawner another answer. `query`: as its SpawnQuery notice has it.
  void answer_spawn(engine::QueryId query, engine::SpawnAnswer answer);
  // Ends the launch: TERM, and KILL after the grace. A second call can only shorten the grace.
  void stop(std::chrono::milliseconds grace);
  // Ends the launch without grace. Its processes are gone when the agent is.
  void abandon();
  // For a launch that an exception has interrupted: reports the result at once. No other method may be called
  // afterwards. The processes end when the driver is destroyed.
  void give_up(const std::string& why);

  // Sends a StatusReply with the status of each group when all hosts have replied.
  void query_status(RequestId request);
  // Sends an Inspection of those of the ranks of group 0 whose processes run, when all their hosts have
  // replied. With `stacks`, the first kMaxStacks of the ranks get one. `ranks` is in ascending order.
  void inspect(RequestId request, const std::vector<std::uint32_t>& ranks, bool stacks);
  static constexpr std::uint32_t kMaxStacks = 256;

 private:
  // By first task: the tasks of a group have successive numbers.
  using Groups = std::map<std::uint32_t, std::unique_ptr<LaunchedGroup>>;

  // A spawn that is not answered yet. Each host numbers the queries of each group by itself.
  struct Asker {
    std::uint32_t host;
    std::uint32_t group;
    std::uint32_t rank;
    engine::QueryId query;
  };

  void open(os::UniqueFd singleton);
  LaunchedGroup& add_group(std::uint32_t number, GroupOptions options);
  LaunchedGroup& first() { return *groups_.begin()->second; }
  LaunchedGroup* find_group(std::uint32_t number);
  // Of a rank on that host that was asked for.
  LaunchedGroup* group_of(std::uint32_t host, std::uint32_t task);
  std::unique_ptr<AgentLink> start_agent(std::unique_ptr<AgentLink> agent);
  void greet(std::uint32_t host);
  // Those that do not run yet.
  void start_hosts(const std::set<std::uint32_t>& hosts);
  void start_groups();
  void adopt_singleton();
  void send_messages(LaunchedGroup& group);
  void send_signal(std::int32_t signal, const LaunchedGroup& group, const std::vector<std::uint32_t>& ranks);
  // Calls `then` with the replies of all hosts that can be asked.
  void ask_status(StatusQueries::OnReplies then);
  using OnInspected = os::UniqueFunction<void(std::vector<wire::agent::InspectedRank>)>;
  // Of group 0. Without an interval, the agents reply before they handle a later message.
  void ask_inspection(const std::vector<std::uint32_t>& ranks, std::chrono::milliseconds interval,
                      std::uint32_t stacks, OnInspected then);

  void on_agent_message(std::uint32_t host, wire::agent::Message& message) override;
  void on_agent_silent(int error) override;
  void on_agent_exit(const std::string& fault) override;
  // The reports of agents.
  void handle(std::uint32_t host, const wire::agent::Ready& ready);
  void handle(std::uint32_t host, const wire::agent::NotTogether& refusal);
  void handle(std::uint32_t host, const wire::agent::HostLost& lost);
  std::string explain(const wire::agent::HostLost& lost) const;
  void handle(std::uint32_t host, const wire::agent::GroupReady& ready);
  void handle(std::uint32_t host, const wire::agent::GroupFailed& failed);
  void handle(std::uint32_t host, wire::agent::Started& started);
  void handle(std::uint32_t host, const wire::agent::StartFailed& failed);
  void handle(std::uint32_t host, const wire::agent::Exited& exited);
  void handle(std::uint32_t host, wire::agent::Events& events);
  void handle(std::uint32_t host, const wire::agent::EventsMissed& missed);
  void handle(std::uint32_t host, wire::agent::TraceLines& lines);
  void handle(std::uint32_t host, wire::agent::SpawnQuery& query);
  void handle(std::uint32_t host, wire::agent::NameQuery& query);
  void handle(std::uint32_t host, const wire::agent::BarrierQuery& query);
  void handle(std::uint32_t host, wire::agent::StatusReply& reply);
  void handle(std::uint32_t host, wire::agent::InspectReply& reply);
  void handle(std::uint32_t host, const wire::agent::OutputLost& lost);
  void handle(std::uint32_t host, const wire::agent::Printed& printed);
  void handle(std::uint32_t host, const wire::agent::Done& done);
  void handle(std::uint32_t host, const wire::agent::ClockQuery& query);
  void on_event(LaunchedGroup& group, engine::Event& event, os::Reactor::Clock::time_point when);
  // The time in a message: not before the begin, and not in the future.
  os::Reactor::Clock::time_point time_of(std::uint64_t ns) const;
  // The agent of the host has sent `what`, which a correct one never does: the host is lost. The agent of the
  // own host is a part of this program, so its message is only ignored.
  void distrust(std::uint32_t host, const std::string& what);
  void lose_host(const engine::LostHost& lost);
  void report_ready();
  void refuse(const wire::agent::GroupFailed& failed);

  void judge();
  void note_failure(LaunchedGroup& group);
  void answer_spawner(LaunchedGroup& group);
  std::string describe_failed_start(const LaunchedGroup& group) const;
  void forget_groups();
  void limit(std::chrono::milliseconds delay, engine::FailureReason reason);
  void time_out(engine::FailureReason reason, std::chrono::milliseconds limit);
  void check_startup();
  // The job was not ready in time, because of these ranks.
  void fail_startup(std::vector<std::uint32_t> late);
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
  engine::Names names_;  // of all groups; used without a name server
  // Answers of the name server may come after the driver has been destroyed.
  std::shared_ptr<void> alive_ = std::make_shared<char>();
  int channel_fd_;  // the number of PMI_FD, which none of the passed descriptors has
  Groups groups_;
  std::uint64_t next_task_ = 0;
  std::unique_ptr<AgentLink> agent_;
  Hosts hosts_;
  RankStarter starter_;
  os::UniqueFd singleton_;
  StatusQueries status_queries_;
  InspectQueries inspect_queries_;
  std::map<engine::QueryId, Asker> askers_;
  engine::QueryId last_query_ = 0;
  std::optional<std::uint32_t> failed_;  // the number of the group that failed first
  std::optional<engine::ProcessGroupStatus> failure_status_;
  std::vector<std::uint32_t> failure_departed_;
  std::vector<std::string> failure_awaited_;
  std::vector<wire::agent::InspectedRank> late_;
  // Of process groups that are forgotten.
  std::uint32_t forgotten_victims_ = 0;
  std::uint64_t forgotten_barriers_ = 0;
  bool forgot_cut_short_ = false;
  bool server_ready_ = false;  // the PMI server of group 0 on the own host, or it needs none
  bool reported_ready_ = false;
  bool end_sent_ = false;
  bool stopped_ = false;                // stop() was called before the launch was over
  std::int32_t stop_signal_ = SIGTERM;  // ended the job before ranks were started; else what stop() sends
  bool done_ = false;                   // the agent has reported that nothing of the job is left
  bool over_ = false;                   // the result is being reported
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::TimerId forget_timer_ = 0;
  std::vector<os::Reactor::TimerId> limits_;
};

}  // namespace wireup::runtime
