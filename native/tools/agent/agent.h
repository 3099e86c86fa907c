// The agent of one host: it receives messages of the launch's tree, and has the parts that carry them out.
//
//   Router    the links of the tree
//   Fences    barriers over hosts
//   Reports   what goes to the launcher, in order
//   LauncherClock   the launcher's time
//   Groups    the process groups with their PMI servers
//   Starts    the ranks that are to be started
//   Ranks     the ranks that run
//   Inspector   what their processes do
//   Output, Input   their standard streams
//   JobEnd    the end of the job
//
// If the launcher sends an invalid message or is gone, if the guard is gone, or after an exception, the agent
// abandons the job. Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/cgroup.h"
#include "tools/agent/fences.h"
#include "tools/agent/groups.h"
#include "tools/agent/guard.h"
#include "tools/agent/input.h"
#include "tools/agent/inspector.h"
#include "tools/agent/job_end.h"
#include "tools/agent/launcher_clock.h"
#include "tools/agent/output.h"
#include "tools/agent/ranks.h"
#include "tools/agent/reports.h"
#include "tools/agent/router.h"
#include "tools/agent/starts.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Agent final : RouterObserver, FencesObserver, RanksObserver, HostMessages, OutputObserver {
 public:
  // Throws OsError.
  Agent(os::Reactor& reactor, pid_t guard, ParentEnd parent, const Signals& signals, Cgroup& cgroup,
        GuardNotes& notes);
  ~Agent() override;

  // Runs until the job has ended. Returns the exit code.
  int run();

 private:
  using Fds = std::optional<std::vector<os::UniqueFd>>;

  void on_message(wire::agent::Message& message, Fds fds) override;
  void on_invalid(const char* fault) override;
  void on_parent_gone(const std::string& fault) override;
  const char* on_message_below(std::uint32_t child, std::uint32_t host,
                               wire::agent::Message& message) override;
  void on_host_lost(std::uint32_t host) override;
  void on_pass_up() override { reports_.flush(); }
  void on_child_gone() override { end_.child_gone(); }
  void on_parent_taken() override;
  void on_child_taken(std::uint32_t child) override { fences_.send_releases(child); }
  void on_child_stderr(const std::string& line) override;
  void on_barrier(std::uint32_t group, std::uint64_t number) override;
  std::string on_release(std::uint32_t group, std::uint64_t number, std::string keys) override;
  void send_to(std::uint32_t host, wire::agent::Message message) override { router_.send_to(host, message); }
  void on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) override;
  void on_output_lost(int error, const std::string& subject) override;
  void on_printed() override;

  // Each returns what is wrong with the message, or nullptr.
  const char* handle(wire::agent::Hello& hello, const Fds&);
  const char* handle(const wire::agent::PassFds& pass, Fds fds) { return starts_.pass(pass, std::move(fds)); }
  const char* handle(wire::agent::StartHost& start, const Fds&) {
    loop_beats_.start();
    return router_.start_host(std::move(start));
  }
  const char* handle(wire::agent::StartTogether& start, const Fds&) {
    return router_.start_together(std::move(start));
  }
  const char* handle(const wire::agent::ExpectHost& expected, const Fds&) {
    return router_.expect_host(expected);
  }
  const char* handle(wire::agent::Group& group, const Fds&);
  const char* handle(const wire::agent::ForgetGroup& forget, const Fds&);
  const char* handle(const wire::agent::AdoptRank& adopt, Fds fds) {
    return groups_.adopt(adopt, std::move(fds));
  }
  const char* handle(wire::agent::Program& program, const Fds&) { return starts_.add(program); }
  const char* handle(const wire::agent::ForgetProgram& forget, const Fds&);
  const char* handle(wire::agent::Start& start, Fds fds);
  const char* handle(const wire::agent::Signal& signal, const Fds&);
  const char* handle(const wire::agent::End& end, const Fds&);
  const char* handle(const wire::agent::Status& status, const Fds&);
  const char* handle(const wire::agent::Depart& depart, const Fds&) { return groups_.depart(depart); }
  const char* handle(wire::agent::SpawnAnswer& answer, const Fds&);
  const char* handle(wire::agent::NameAnswer& answer, const Fds&) { return groups_.answer(answer); }
  const char* handle(const wire::agent::BarrierAnswer& answer, const Fds&);
  const char* handle(const wire::agent::QueryStatus& query, const Fds&);
  const char* handle(const wire::agent::ClockAnswer& answer, const Fds&);
  const char* handle(wire::agent::Inspect& inspect, const Fds&) {
    return inspector_.handle(std::move(inspect));
  }
  const char* handle(const wire::agent::Release& release, const Fds&) { return fences_.release(release); }
  const char* handle(const wire::agent::TaskPipes& pipes, Fds fds);
  const char* handle(const wire::agent::RankProcesses& processes, const Fds&) {
    return starts_.add(processes);
  }
  const char* handle(const wire::agent::CloseOutput& close, const Fds&) { return output_->handle(close); }
  const char* handle(const wire::agent::Credit& credit, const Fds&) { return output_->handle(credit); }
  const char* handle(const wire::agent::Input& input, const Fds&);

  void ask_for_time();
  void host_done();
  void abandon();

  os::Reactor& reactor_;
  Cgroup& cgroup_;
  os::UniqueFd dev_null_;
  std::vector<os::UniqueFd> reserve_;
  bool greeted_ = false;
  LauncherClock clock_;
  Router router_;
  Fences fences_;
  Reports reports_;
  Ranks ranks_;
  Groups groups_;
  std::unique_ptr<Output> output_;
  std::unique_ptr<Input> input_;  // exists while ranks read stdin
  Starts starts_;
  Inspector inspector_;
  JobEnd end_;
  bool done_sent_ = false;
  int exit_code_ = 1;
  GuardWatch guard_;
  LoopBeats loop_beats_;  // from the moment at which this host has a link to another one
};

}  // namespace wireup::agent
