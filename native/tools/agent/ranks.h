// The running ranks of all groups, by the number of their task: children of the agent, waited for
// by pidfd. Each leads a session of its own, and with it a POSIX process group: a leader can leave neither,
// so a signal to the POSIX process group always reaches the rank. The scheduler gives each session its share
// of a busy machine (autogroup, sched(7)).
//
// A rank is signalled only until it has been reaped: until then no other process has its number.
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "os/reactor.h"
#include "os/start_process.h"

namespace wireup::agent {

class RanksObserver {
 public:
  virtual ~RanksObserver() = default;
  // The rank has been reaped and is not among the running ones any more.
  // `ended`: it ran when end_all() was called.
  virtual void on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) = 0;
};

class Ranks final {
 public:
  Ranks(os::Reactor& reactor, RanksObserver& observer);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Not while the rank runs. Throws OsError.
  pid_t start(std::uint32_t number, const os::ProcessSpec& spec);

  bool running(std::uint32_t number) const { return by_task_.contains(number); }
  bool none_running() const { return by_task_.empty(); }
  bool is_rank(pid_t pid) const { return by_pid_.contains(pid); }

  // To the rank's POSIX process group, if it runs. TSTP is sent as STOP: in an orphaned process group, whose
  // members have no parent in their session, the kernel ignores a TSTP that is not caught (setpgid(2)).
  void signal(std::uint32_t number, int signal_number) const;
  void signal_all(int signal_number) const;
  // Tells of those that have exited by themselves already, then TERM for the rest.
  void end_all();

 private:
  struct Task;

  void reap(Task& task);

  os::Reactor& reactor_;
  RanksObserver& observer_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Task>> by_task_;
  std::unordered_map<pid_t, Task*> by_pid_;
};

}  // namespace wireup::agent
