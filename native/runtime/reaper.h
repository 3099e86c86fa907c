// Ends and reaps child processes that their ChildProcess has given up, so that no destructor waits for a
// process.
//
// It polls its children by a timer, since the reactor may be unable to watch one of them. A child usually
// ends within milliseconds of its signal.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <functional>
#include <list>

#include "os/reactor.h"
#include "os/start_process.h"

namespace wireup::runtime {

class Reaper {
 public:
  // A list of one child: a node that moves from list to list needs no memory.
  struct Child {
    os::StartedProcess process;
    os::Reactor::Clock::time_point kill_at = {};
    bool killed = false;
  };
  using Children = std::list<Child>;

  // `on_idle` is called whenever the last child has been reaped. It must not destroy the reaper.
  explicit Reaper(os::Reactor& reactor, std::function<void()> on_idle = nullptr)
      : reactor_(reactor), on_idle_(std::move(on_idle)) {}
  // Kills the children that are left and waits up to a second for their ends. A child that has not ended by
  // then stays a zombie until the calling process ends.
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Takes the children out of `children`. They are killed if they have not ended after `grace`.
  void adopt(Children& children, os::Reactor::Clock::duration grace) noexcept;
  // Continues the polling, which a lack of memory may have stopped.
  void resume() noexcept;
  bool idle() const { return children_.empty(); }

 private:
  void sweep();
  void reap_ended();
  void schedule() noexcept;

  os::Reactor& reactor_;
  std::function<void()> on_idle_;
  Children children_;
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::Clock::duration delay_ = {};
};

// Sends the signal to the process behind the pidfd: never to another that has taken its number. Does nothing
// if the process has been reaped.
void send_signal(const os::UniqueFd& pidfd, int signal) noexcept;

// Reaps the child if it has ended; then `status` says how. Returns false while it runs. If other code of the
// calling process has reaped it, its status is lost and `status` stays as it is.
bool reap(const os::UniqueFd& pidfd, os::ExitStatus& status);

}  // namespace wireup::runtime
