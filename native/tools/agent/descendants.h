// What the ranks leave behind: their orphans become children of the agent, the subreaper. Here they are
// reaped while the job runs, and ended when it is over.
//
// The status of a rank is never taken: a dead rank is left for its own pidfd.
// Threads: the reactor's. Blocks SIGCHLD in the calling thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <unordered_set>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/ranks.h"

namespace wireup::agent {

class Descendants final : os::Handler {
 public:
  Descendants(os::Reactor& reactor, const Ranks& ranks);  // throws OsError
  ~Descendants() override;
  Descendants(const Descendants&) = delete;
  Descendants& operator=(const Descendants&) = delete;

  // SIGKILL for every child that is no rank, and for what becomes our child by that, until we have no child
  // left; then calls `done`. Ranks must be ending already. Processes that we may not signal (set-uid ones)
  // are not waited for. A second call replaces `done`.
  void end(std::function<void()> done);

 private:
  void on_ready(std::uint32_t events) override;
  // Reaps what has died. False when there is no child any more.
  bool reap();
  void kill_children();
  void look_later(os::Reactor::Clock::duration delay);
  void look();

  os::Reactor& reactor_;
  const Ranks& ranks_;
  os::UniqueFd signals_;
  std::function<void()> done_;
  std::unordered_set<pid_t> killed_;  // and not reaped yet
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::agent
