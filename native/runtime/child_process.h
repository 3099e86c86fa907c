// A child process of the calling process (the agent). The reactor watches its pidfd, so no SIGCHLD handler
// and no waiting thread is needed. It is always reaped: here, or by the Reaper if this object goes first.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <csignal>
#include <functional>

#include "os/reactor.h"
#include "os/start_process.h"
#include "runtime/reaper.h"

namespace wireup::runtime {

class ChildProcess final : public os::Handler {
 public:
  using OnExit = std::function<void(const os::ExitStatus&)>;

  // Starts the child. `on_exit` is called once, on the reactor, when the child has ended; it may destroy the
  // ChildProcess. Its status is exit code 0 if other code of the calling process has reaped the child.
  // Throws os::OsError or std::bad_alloc; a child that was already started is then killed.
  ChildProcess(os::Reactor& reactor, Reaper& reaper, const os::ProcessSpec& spec, OnExit on_exit);
  // The same for a child that has been started: the one in `child`, which is empty afterwards.
  ChildProcess(os::Reactor& reactor, Reaper& reaper, Reaper::Children& child, OnExit on_exit);
  // Kills a child that still runs. Does not wait for its end.
  ~ChildProcess() override { give_up({}); }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Whether a signal has stopped the child, and none has continued it since.
  bool stopped() const;
  void kill() const { send_signal(process(), SIGKILL); }
  void terminate() const { send_signal(process(), SIGTERM); }
  // Undoes a stop.
  void go_on() const { send_signal(process(), SIGCONT); }
  // Hands a child that still runs to the reaper, which kills it after `grace`. `on_exit` is not called any
  // more.
  void give_up(std::chrono::milliseconds grace) noexcept;

 private:
  void watch();
  void on_ready(std::uint32_t events) override;
  const os::UniqueFd& process() const { return child_.front().process.pidfd; }

  os::Reactor& reactor_;
  Reaper& reaper_;
  OnExit on_exit_;
  Reaper::Children child_;  // empty once it has been reaped or handed to the reaper
  pid_t pid_;
};

}  // namespace wireup::runtime
