// The processes that ranks leave behind. Orphans become children of the agent, because it is a subreaper.
// This class reaps them while the job runs, and kills them at its end.
//
// It never reaps a rank: Ranks does that, by the rank's pidfd.
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

  // Sends SIGKILL to every child that is not a rank, and to each process that becomes a child by this. Calls
  // `done` when no child is left. Ranks must be ending already. Does not wait for processes that may not be
  // signalled (set-uid programs). A second call replaces `done`.
  void end(std::function<void()> done);

 private:
  void on_ready(std::uint32_t events) override;
  // Reaps children that have ended. Returns false if no child is left.
  bool reap();
  void kill_children();
  void look_later(os::Reactor::Clock::duration delay);
  void look();

  os::Reactor& reactor_;
  const Ranks& ranks_;
  os::UniqueFd signals_;
  std::function<void()> done_;
  std::unordered_set<pid_t> killed_;  // and not yet reaped
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::agent
