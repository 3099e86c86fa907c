// The running ranks of all groups, by the launcher's number of the process: children of the agent, waited for
// by pidfd. Each leads a session of its own, and with it a process group: a leader can leave neither, so a
// signal to the group always reaches the rank. The scheduler gives each session its share of a busy machine
// (autogroup, sched(7)).
//
// A rank is signalled only until it has been reaped: until then no other process has its number.
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "os/reactor.h"
#include "os/spawn.h"

namespace wireup::agent {

class RanksObserver {
 public:
  virtual ~RanksObserver() = default;
  // The rank has been reaped and is not among the running ones any more.
  // `ended`: it ran when end_all() was called.
  virtual void on_rank_exit(std::uint32_t process, const os::ExitStatus& status, bool ended) = 0;
};

class Ranks final {
 public:
  Ranks(os::Reactor& reactor, RanksObserver& observer);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Not while the rank runs. Throws OsError.
  pid_t start(std::uint32_t process, const os::SpawnSpec& spec);

  bool running(std::uint32_t process) const { return by_number_.contains(process); }
  bool none_running() const { return by_number_.empty(); }
  bool is_rank(pid_t pid) const { return by_pid_.contains(pid); }

  // To the rank's process group, if it runs. TSTP is sent as STOP: in an orphaned process group, whose
  // members have no parent in their session, the kernel ignores a TSTP that is not caught (setpgid(2)).
  void signal(std::uint32_t process, int number) const;
  void signal_all(int number) const;
  // Tells of those that have exited by themselves already, then TERM for the rest.
  void end_all();

 private:
  struct Process;

  void reap(Process& process);

  os::Reactor& reactor_;
  RanksObserver& observer_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Process>> by_number_;
  std::unordered_map<pid_t, Process*> by_pid_;
};

}  // namespace wireup::agent
