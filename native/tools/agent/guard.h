// The agent's parent process. It only waits, and cleans up if the agent is killed.
//
// When the agent dies, the kernel kills the ranks, but not the processes that the ranks have started. Those
// become children of the guard, which is the next subreaper. The guard kills them and ends in the same way as
// the agent. It also kills an agent that a signal has stopped, because a stopped agent blocks every rank. If
// the guard is killed, the kernel continues a stopped agent, and the agent ends the job (GuardWatch).
//
// Then it removes the agent's private folder. If the launcher was killed, it removes the folder of the job's
// socket too.
//
// Limits: if agent and guard are killed at the same time, only the ranks die. Processes that run as another
// user cannot be killed.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/cgroup.h"

namespace wireup::agent {

// The path of the agent's private folder, in memory that agent and guard share.
class FolderNote {
 public:
  FolderNote();  // throws OsError
  ~FolderNote();
  FolderNote(const FolderNote&) = delete;
  FolderNote& operator=(const FolderNote&) = delete;

  // Once. A path of a private folder is short enough for the memory (os/private_directory.h).
  void set(const std::string& path);
  // Empty before set().
  std::string path() const;

 private:
  struct Memory;
  Memory* memory_;
};

// Forks. Returns in the child, which is the agent, with the guard's process id. The parent is the guard: it
// never returns, removes the job's cgroup and the agent's private folder, and exits. Call it before other
// threads or files exist. Throws OsError.
pid_t start_guard(const Cgroup& cgroup, const FolderNote& folder);

// Calls `gone` in the agent when the guard has ended. The constructor throws OsError, also if the guard has
// ended already. Threads: the reactor's.
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
