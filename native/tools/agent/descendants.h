// The processes that ranks leave behind. Orphans become children of the agent, because it is a subreaper.
// This class reaps them while the job runs, and kills them at its end.
//
// It never reaps a rank, nor a command that reaches another host's agent: Ranks and runtime::ChildProcess do
// that, by pidfd.
// Threads: the reactor's. Blocks SIGCHLD in the calling thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <unordered_set>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/ranks.h"
#include "tools/agent/router.h"

namespace wireup::agent {

class Descendants final : os::Handler {
 public:
  Descendants(os::Reactor& reactor, const Ranks& ranks, const Router& router);  // throws OsError
  ~Descendants() override;
  Descendants(const Descendants&) = delete;
  Descendants& operator=(const Descendants&) = delete;

  // Sends SIGKILL to every child that is not a rank or such a command, and to each process that becomes a
  // child by this. Calls `done` when no child is left. Ranks must be ending already. Does not wait for
  // processes that may not be signalled (set-uid programs). A second call replaces `done`.
  void end(std::function<void()> done);

 private:
  void on_ready(std::uint32_t events) override;
  // Reaps children that have ended. Returns false if no child is left.
  bool reap();
  bool is_kept(pid_t pid) const { return ranks_.is_rank(pid) || router_.is_command(pid); }
  // Returns whether a command that reaches another host is left.
  bool kill_children();
  void look_later(os::Reactor::Clock::duration delay);
  void look();

  os::Reactor& reactor_;
  const Ranks& ranks_;
  const Router& router_;
  os::UniqueFd signals_;
  std::function<void()> done_;
  std::unordered_set<pid_t> killed_;  // and not yet reaped
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::agent
