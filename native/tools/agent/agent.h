// The agent between its launcher and the ranks. It handles the launcher's messages and ends the job in
// phases:
//
//   serving    until the launcher sends End
//   ending     ranks have received TERM, and receive KILL after the grace period
//   sweeping   no rank runs; the agent kills the processes that they left
//   draining   no process is left; the agent writes the rest of their output
//   finished   the agent has sent Done
//   abandoned  the launcher has gone; the agent kills everything at once and does not wait for output
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/message_socket.h"
#include "os/reactor.h"
#include "tools/agent/binding.h"
#include "tools/agent/cgroup.h"
#include "tools/agent/descendants.h"
#include "tools/agent/guard.h"
#include "tools/agent/input.h"
#include "tools/agent/mpir.h"
#include "tools/agent/output.h"
#include "tools/agent/programs.h"
#include "tools/agent/ranks.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Agent final : os::MessageSocketObserver, RanksObserver, OutputObserver {
 public:
  struct Signals {
    sigset_t ignored_in_ranks;
    sigset_t blocked_in_ranks;
    sigset_t not_default;  // in this process; does not change
  };

  // Throws OsError.
  Agent(os::Reactor& reactor, pid_t guard, os::UniqueFd launcher, const Signals& signals, Cgroup& cgroup);
  ~Agent() override;

  // Runs until the job has ended. Returns the exit code.
  int run();

 private:
  // With this many socket folders the agent forgets those that no longer exist. The next check comes at twice
  // the number that is left.
  static constexpr std::size_t kFoldersToCheck = 64;

  enum class Phase { serving, ending, sweeping, draining, finished, abandoned };

  void on_message(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_message_end(int error) override;
  void on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) override;
  void on_output_lost(int error, const std::string& subject) override;
  void on_printed() override;

  // Each returns what is wrong with the message, or nullptr.
  const char* handle(wire::agent::Hello& hello);
  const char* handle(const wire::agent::PassFds& pass, std::optional<std::vector<os::UniqueFd>> fds);
  const char* handle(wire::agent::SocketFolder& folder);
  const char* handle(wire::agent::Program& program);
  const char* handle(wire::agent::Start& spawn, std::optional<std::vector<os::UniqueFd>> fds);
  const char* handle(const wire::agent::Signal& signal);
  const char* handle(const wire::agent::Status& status);
  const char* handle(const wire::agent::End& end);

  void start(const wire::agent::StartRank& rank, const Executable& program, std::vector<os::UniqueFd> fds);
  // The fd for the rank's stdout or stderr. If it was opened for this, `opened` owns it.
  int output_of(const wire::agent::StartRank& rank, const RankNames& names, int fd, os::UniqueFd& opened);
  void send(const wire::agent::Message& message);
  void kill_ranks();
  void sweep();
  void drop_output_at(os::Reactor::Clock::time_point when);
  void finish();
  void abandon();

  os::Reactor& reactor_;
  Signals signals_;
  Cgroup& cgroup_;
  os::UniqueFd dev_null_;
  std::vector<os::UniqueFd> reserve_;
  std::optional<wire::agent::Hello> hello_;
  std::vector<std::pair<os::UniqueFd, std::int32_t>> passed_fds_;  // the agent's fd, and its number in ranks
  bool passed_fds_lost_ = false;                                   // some exceeded the limit of open files
  std::vector<std::string> socket_folders_;
  std::size_t folders_to_check_ = kFoldersToCheck;
  Programs programs_;
  Ranks ranks_;
  ProcessTable table_;
  Descendants descendants_;
  std::unique_ptr<Output> output_;
  std::unique_ptr<Input> input_;  // exists while ranks read stdin
  Binding binding_;
  bool bound_ = false;  // binding_.plan() has been called
  Phase phase_ = Phase::serving;
  os::Reactor::TimerId kill_timer_ = 0;
  os::Reactor::Clock::time_point kill_at_;
  bool drops_output_ = false;
  int exit_code_ = 1;
  os::MessageSocket launcher_;
  GuardWatch guard_;
};

}  // namespace wireup::agent
