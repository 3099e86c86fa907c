// Starts the ranks that the launcher has asked for, in order, a few of them in each turn of the loop, so that
// PMI messages are served meanwhile. Starting one takes about as long as hundreds of PMI messages. The ranks
// of a turn start at the same time (os::start_processes()); Started and StartFailed are sent in their order.
//
// Threads: the reactor's.
#pragma once

#include <csignal>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/binding.h"
#include "tools/agent/cgroup.h"
#include "tools/agent/groups.h"
#include "tools/agent/input.h"
#include "tools/agent/mpir.h"
#include "tools/agent/output.h"
#include "tools/agent/programs.h"
#include "tools/agent/ranks.h"
#include "tools/agent/reports.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

struct Signals {
  sigset_t ignored_in_ranks;
  sigset_t blocked_in_ranks;
  sigset_t not_default;  // in this process; does not change
};

class Starts {
 public:
  // What it uses. All of it outlives the object.
  struct Parts {
    os::Reactor& reactor;
    Reports& reports;
    Groups& groups;
    Ranks& ranks;
    Cgroup& cgroup;
    int dev_null;
  };

  Starts(Parts parts, const Signals& signals, std::string host_name);
  ~Starts();
  Starts(const Starts&) = delete;
  Starts& operator=(const Starts&) = delete;

  // Before the first start. `input` is null if no rank of this host reads stdin.
  void greet(const wire::agent::Hello& hello, Output& output, Input* input);

  // Each returns what is wrong with the message, or nullptr.
  const char* pass(const wire::agent::PassFds& pass, std::optional<std::vector<os::UniqueFd>> fds);
  const char* add(const wire::agent::RankProcesses& processes);
  const char* add(wire::agent::Program& program);
  const char* add(wire::agent::Start& start, std::optional<std::vector<os::UniqueFd>> fds);

  // After the ranks that wait.
  void forget_program(std::uint32_t id);
  // Sends StartFailed (ECANCELED) for the ranks that wait and for those that are added later.
  void cancel();
  // Drops the ranks that wait.
  void stop();
  // Whether ranks of the group wait.
  bool has(std::uint32_t group) const;

 private:
  struct Waiting {
    std::uint32_t group;
    wire::agent::StartRank rank;
    std::optional<std::vector<os::UniqueFd>> fds;  // nullopt: they exceeded the limit of open files
    // Programs that can be forgotten when this one has been started.
    std::vector<std::uint32_t> forget = {};
  };

  // Returns what is wrong with the rank in a Start, or nullptr.
  const char* check(const HostedGroup& group, const wire::agent::StartRank& rank) const;
  bool is_passed(std::int32_t number) const;
  struct Attempt;
  void start_some();
  // Takes the first rank of the queue, which must not be empty.
  Attempt take_next();
  // Opens what the rank gets. Throws OsError.
  os::ProcessSpec prepare(Attempt& attempt);
  void report(const Attempt& attempt, const os::ProcessSpec& spec, pid_t pid);
  // The fd for the rank's stdout or stderr. If it was opened for this, `opened` owns it.
  int output_of(const wire::agent::StartRank& rank, std::uint32_t task, const RankNames& names, int fd,
                os::UniqueFd& opened);
  void fail(std::uint32_t task, bool reads_stdin, const os::OsError& error);
  void fail_all();

  Parts parts_;
  Signals signals_;
  bool own_host_ = true;  // this is host 0
  wire::agent::OutputMode out_ = wire::agent::OutputMode::inherit;
  wire::agent::OutputMode err_ = wire::agent::OutputMode::inherit;
  std::uint64_t soft_files_ = 0;
  wire::agent::Binding plan_;
  Output* output_ = nullptr;
  Input* input_ = nullptr;
  std::vector<std::pair<os::UniqueFd, std::int32_t>> passed_fds_;  // the agent's fd, and its number in ranks
  bool passed_fds_lost_ = false;                                   // some exceeded the limit of open files
  Programs programs_;
  std::string host_name_;
  ProcessTable table_;
  Binding binding_;
  bool bound_ = false;  // binding_.plan() has been called
  std::deque<Waiting> queue_;
  std::unordered_set<std::uint32_t> tasks_;  // in queue_
  bool canceled_ = false;
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::agent
