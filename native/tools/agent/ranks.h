// The running ranks of all process groups, by task number. They are children of the agent, which waits for
// them by pidfd. Each leads a session, and so a POSIX process group that it cannot leave. So a signal to the
// POSIX process group always reaches the rank. The scheduler gives each session its share of a busy machine
// (autogroup, sched(7)).
//
// Signals are sent only before the rank has been reaped, because until then no other process has its number.
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <variant>
#include <vector>

#include "os/error.h"
#include "os/reactor.h"
#include "os/start_process.h"

namespace wireup::agent {

class RanksObserver {
 public:
  virtual ~RanksObserver() = default;
  // The rank has been reaped, and running() is false. `ended`: it ran when end_all() was called.
  virtual void on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) = 0;
};

class Ranks final {
 public:
  Ranks(os::Reactor& reactor, RanksObserver& observer);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // The pid of a task that has been started, or why it could not be.
  using Outcome = std::variant<pid_t, os::OsError>;
  // Starts task numbers[i] with specs[i]. The tasks must not be running. The outcomes are in the same order.
  // Throws OsError if none could be started.
  std::vector<Outcome> start(std::span<const std::uint32_t> numbers, std::span<const os::ProcessSpec> specs);

  bool running(std::uint32_t number) const { return by_task_.contains(number); }
  // 0 if it does not run.
  pid_t pid(std::uint32_t number) const;
  bool none_running() const { return by_task_.empty(); }
  bool is_rank(pid_t pid) const { return by_pid_.contains(pid); }

  // Sends to the rank's POSIX process group, if the rank runs. Sends STOP for TSTP, because the kernel
  // ignores an uncaught TSTP in an orphaned POSIX process group, one without a parent in its session
  // (setpgid(2)).
  void signal(std::uint32_t number, int signal_number) const;
  void signal_all(int signal_number) const;
  // Reports the ranks that have already exited, and then sends TERM to the others.
  void end_all();

 private:
  struct Task;

  pid_t watch(std::uint32_t number, os::StartedProcess process);
  void reap(Task& task);

  os::Reactor& reactor_;
  RanksObserver& observer_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Task>> by_task_;
  std::unordered_map<pid_t, Task*> by_pid_;
};

}  // namespace wireup::agent
