// One launched job: its PMI server, the agent that holds its ranks, and the verdict on how it ends.
//
// The agent is a child of the owner; the ranks are the agent's. It is told to spawn in batches, the next only
// when the socket took the last, so that PMI traffic is served between them. Events go to `sink` under
// `handle`; the last is a LaunchResult or a Fault, when no process of the job is left.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/notice.h"
#include "host/process.h"
#include "host/server_host.h"
#include "job/outcome.h"
#include "os/message_socket.h"
#include "os/reactor.h"
#include "wire/agent_messages.h"

namespace wireup::host {

enum class PmiMode : std::uint8_t { fd, port };

// Write ends of pipes that the owner reads, in the place of the agent's stdout and stderr or of ranks'.
struct OutputPipes {
  os::UniqueFd out;
  os::UniqueFd err;
  std::vector<os::UniqueFd> rank_out;  // by rank, or none
  std::vector<os::UniqueFd> rank_err;
};

struct LaunchOptions {
  job::JobOptions job;
  PmiMode pmi = PmiMode::fd;
  ListenOptions listen;  // used when pmi is port
  std::string agent;     // path of wireup-agent
  // The agent's, copied from the owner's on the owner's thread, which may change it (setenv) while the reactor's runs.
  std::vector<std::string> agent_environment;
  std::vector<wire::agent::Program> programs;  // by appnum
  // Names of the nodes; empty: this host's. `own_hosts`: the ranks' gethostname() is to say them.
  std::vector<std::string> hosts;
  bool own_hosts = false;
  wire::agent::OutputPlan out;
  wire::agent::OutputPlan err;
  std::string label;
  wire::agent::Binding binding;
  std::vector<bool> stdin_readers;  // by rank, those that read the owner's stdin; or none
  std::vector<bool> silent;         // by rank, those whose output is discarded; or none
  std::shared_ptr<OutputPipes> pipes = std::make_shared<OutputPipes>();  // shared, since posted functions are copied
  // Put before the program of these ranks: a debugger. Empty: none.
  std::vector<std::string> debugger;
  std::vector<std::uint32_t> debugged;
  std::vector<std::int32_t> ignored_signals;  // beside what this process ignores, for agent and ranks
  job::OutcomePolicy policy;
  std::chrono::milliseconds grace{5000};  // between TERM and KILL
  // Zero: no limit. The job, from its launch; and until every rank has said init and is out of the first barrier.
  std::chrono::milliseconds timeout{0};
  std::chrono::milliseconds wireup_timeout{0};
};

// For OutputPipes: `first` is the owner's end of each. Raises the soft limit of open files where that helps. Throws
// os::OsError.
std::vector<os::FdPair> open_output_pipes(std::size_t count);

class LaunchHost final : public os::MessageSocketObserver {
 public:
  // `on_end` is called once, after the last notice; it may post this host's destruction, not destroy it.
  // Throws os::OsError, or Fault where the file limit is too low.
  LaunchHost(os::Reactor& reactor, LaunchOptions options, Handle handle, NoticeSink& sink,
             std::function<void()> on_end);
  ~LaunchHost() override;

  // To the process groups of these ranks (all when empty) that still run.
  void signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks);
  // A line for the terminal, until ranks write to it; empty: none.
  void show_status(std::string line);
  // Ends the job: TERM, after the grace KILL. A second call can only shorten the grace.
  void stop(std::chrono::milliseconds grace);
  // Ends the job without grace; its processes are gone when the agent is.
  void abandon();

  const job::Job& job() const { return server_.job(); }

 private:
  void start_agent();
  void describe_programs();
  void describe_program(std::uint32_t id, wire::agent::Program program);
  std::uint32_t program_of(std::uint32_t rank) const;
  wire::agent::SpawnRank describe_rank(std::uint32_t rank, std::vector<os::UniqueFd>& fds);
  void send(const wire::agent::Message& message, std::vector<os::UniqueFd> fds = {});
  void spawn_some();
  void on_message(std::string_view message, std::vector<os::UniqueFd> fds) override;
  void on_message_end(int error) override;
  void on_event(const job::Event& event);
  void on_agent_exit(const os::ExitStatus& status);
  void exited(const wire::agent::Exited& message);
  void judge();
  void limit(std::chrono::milliseconds delay, job::FailureReason reason);
  void watch_agent();
  bool wired_up() const;
  double now() const;
  void end(std::chrono::milliseconds grace);
  void send_end(std::chrono::milliseconds grace);
  void arm_timer();
  void finish();

  os::Reactor& reactor_;
  LaunchOptions options_;
  Handle handle_;
  NoticeSink& sink_;
  std::function<void()> on_end_;
  job::Outcome outcome_;
  std::string pmi_port_;
  ServerHost server_;
  std::unique_ptr<Process> agent_;
  std::unique_ptr<os::MessageSocket> socket_;
  std::uint32_t asked_ = 0;     // ranks the agent was asked to spawn
  std::uint32_t answered_ = 0;  // of those: started or failed
  bool end_sent_ = false;
  bool done_ = false;           // the agent said that nothing of the job is left
  os::Reactor::TimerId timer_ = 0;
  std::vector<os::Reactor::TimerId> limits_;
  os::Reactor::TimerId watch_ = 0;
  std::vector<bool> debugged_;
  bool agent_stopped_ = false;  // at the last look
  os::Reactor::Clock::time_point begin_ = os::Reactor::Clock::now();
  std::vector<RankTimes> times_;
  std::uint64_t barriers_ = 0;
  std::vector<double> barrier_times_;
  std::optional<job::JobStatus> failure_status_;
  std::vector<std::uint32_t> departed_;  // then
};

}  // namespace wireup::host
