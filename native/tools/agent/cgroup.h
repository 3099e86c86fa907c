// A cgroup (version 2) for the job, below the agent's own cgroup. It needs /sys, and permission to write to
// the agent's cgroup. The kernel then kills all processes of the job at once, even if they fork (cgroup.kill,
// Linux 5.14). If no cgroup can be made, every method does nothing.
//
// The guard makes it before it forks the agent, so that both can kill and remove it. The agent holds a
// flock(2) on its folder. A cgroup without a lock was left by an agent and a guard that were killed together,
// or by a process that was killed before it became a guard. The next job with the same parent cgroup kills
// the processes in it and removes it.
#pragma once

#include <string>

#include "os/fd.h"

namespace wireup::agent {

class Cgroup {
 public:
  // Makes the cgroup, and removes abandoned ones.
  Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  // Its folder; -1: there is no cgroup.
  int folder() const { return lock_.get(); }
  // Sends SIGKILL to every process in it.
  void kill() const;
  // Returns false while it contains processes.
  bool remove() const;

 private:
  bool make(const std::string& path);

  std::string path_;
  os::UniqueFd lock_;
};

}  // namespace wireup::agent
