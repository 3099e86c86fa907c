// A cgroup (version 2) of the job's own, below the agent's, where one can be had: /sys is there, and the
// agent's own may be written to. The kernel then ends all of the job in one stroke, whatever it forks
// meanwhile (cgroup.kill, Linux 5.14). Where none can be had every call does nothing.
//
// Made by the guard before the agent, so that either can end and remove it. The agent holds a lock on its
// folder (flock(2)): one that nobody has locked was left by an agent and a guard that were killed together,
// or by a starter that was killed before it had a guard. The next that is made in the same place ends what is
// in it, and removes it.
#pragma once

#include <string>

#include "os/fd.h"

namespace wireup::agent {

class Cgroup {
 public:
  // Makes it, and removes those of ours that were left there.
  Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  // An fd by which a process that writes "0" to it joins; -1 where there is none.
  int joining();
  // SIGKILL for all that is in it.
  void kill() const;
  // False while there is something in it.
  bool remove() const;

 private:
  bool make(const std::string& path);

  std::string path_;
  os::UniqueFd lock_;
  os::UniqueFd procs_;
};

}  // namespace wireup::agent
