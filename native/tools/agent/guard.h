// The agent's parent: a process that does nothing but wait, so that the agent's own end leaves nothing
// behind.
//
// The kernel kills the ranks when the agent dies, but not what the ranks have started: those become children
// of the next subreaper above, which is the guard. It kills them and ends as the agent did. An agent that a
// signal has stopped holds every rank up and is killed too. When the guard is killed the agent learns it
// (GuardWatch) and ends the job; when it was stopped by a signal, it is let go on by that.
//
// Not caught: both killed at the same time (the ranks die even so), and what runs as another user by then.
#pragma once

#include <sys/types.h>

#include <functional>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/cgroup.h"

namespace wireup::agent {

// Splits the process in two. Returns in the child, the agent, with the guard's process id; the parent stays
// in here as the guard and exits; it removes the job's cgroup. Call while there is one thread and nothing is
// opened. Throws OsError.
pid_t start_guard(const Cgroup& cgroup);

// Calls `gone` when the guard has ended. In the agent. Throws OsError, also when it has ended by now.
class GuardWatch final : os::Handler {
 public:
  GuardWatch(os::Reactor& reactor, pid_t guard, std::function<void()> gone);
  ~GuardWatch() override;
  GuardWatch(const GuardWatch&) = delete;
  GuardWatch& operator=(const GuardWatch&) = delete;

 private:
  void on_ready(std::uint32_t events) override;

  os::Reactor& reactor_;
  std::function<void()> gone_;
  os::UniqueFd pidfd_;
};

}  // namespace wireup::agent
