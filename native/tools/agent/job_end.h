// Ends the job on this host, in phases:
//
//   serving    until the launcher sends End
//   ending     ranks have received TERM, and receive KILL after the grace period. Then the agent waits for
//              the agents below it
//   sweeping   no rank runs; the agent kills the processes that they left
//   draining   no process is left; the agent writes the rest of their output
//   done       nothing is left
//   abandoned  the launcher has gone; the agent kills everything at once and does not wait for output
//
// An agent below this one has kDoneLimit to end after the grace period. The time in which its output waits
// for this host to write it does not count. After that it is lost. The agent of host 0 watches over all
// others, because only it knows which output waits.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "os/reactor.h"
#include "tools/agent/cgroup.h"
#include "tools/agent/descendants.h"
#include "tools/agent/output.h"
#include "tools/agent/ranks.h"
#include "tools/agent/router.h"

namespace wireup::agent {

class JobEnd {
 public:
  enum class Phase : std::uint8_t { serving, ending, sweeping, draining, done, abandoned };

  // `output` is there when end() is called. `on_done` is called once, at the end of draining, or when an
  // abandoned job is over.
  JobEnd(os::Reactor& reactor, Router& router, Ranks& ranks, Cgroup& cgroup,
         const std::unique_ptr<Output>& output, std::function<void()> on_done);
  ~JobEnd();
  JobEnd(const JobEnd&) = delete;
  JobEnd& operator=(const JobEnd&) = delete;

  Phase phase() const { return phase_; }

  // A second call can only shorten the grace period. After the ranks have ended, it limits how long the agent
  // waits for readers of the output.
  void end(std::chrono::milliseconds grace);
  void rank_exited() { sweep_if_over(); }
  void child_gone() { sweep_if_over(); }
  void abandon();

 private:
  void kill_ranks();
  void sweep_if_over();
  void sweep();
  void drop_output_at(os::Reactor::Clock::time_point when);
  void watch_children();
  void check_children();
  void done();

  os::Reactor& reactor_;
  Router& router_;
  Ranks& ranks_;
  Cgroup& cgroup_;
  const std::unique_ptr<Output>& output_;
  std::function<void()> on_done_;
  Descendants descendants_;
  Phase phase_ = Phase::serving;
  os::Reactor::TimerId kill_timer_ = 0;
  os::Reactor::Clock::time_point kill_at_;
  os::Reactor::TimerId limit_timer_ = 0;  // of the output, or of an abandoned job
  os::Reactor::Clock::time_point drop_at_;
  bool drops_output_ = false;
  os::Reactor::TimerId children_timer_ = 0;
  std::map<std::uint32_t, int> late_;  // the checks that found a child late
};

}  // namespace wireup::agent
