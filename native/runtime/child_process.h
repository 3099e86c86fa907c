// A child of the owner's process (the agent): its pidfd is watched on the reactor, so that no SIGCHLD handler
// and no waiting thread is needed, and it is always reaped.
#pragma once

#include <chrono>
#include <functional>

#include "os/reactor.h"
#include "os/start_process.h"

namespace wireup::runtime {

class ChildProcess final : public os::Handler {
 public:
  using OnExit = std::function<void(const os::ExitStatus&)>;

  // `on_exit` is called once, on the reactor; it may destroy the ChildProcess. Its status is exit code 0
  // where somebody else has taken the real one. Throws os::OsError; no child is left then.
  ChildProcess(os::Reactor& reactor, const os::ProcessSpec& spec, OnExit on_exit);
  // Kills what still runs and waits for it.
  ~ChildProcess() override;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return process_.pid; }
  // Whether a signal has stopped it, and nobody has let it go on since.
  bool stopped() const;
  void kill() const;
  // Undoes a stop.
  void go_on() const;
  // Blocks until it has ended, or the time is over. It is still to be reaped.
  void wait(std::chrono::milliseconds limit) const;

 private:
  void on_ready(std::uint32_t events) override;
  void kill_and_reap() const;

  os::Reactor& reactor_;
  os::StartedProcess process_;
  OnExit on_exit_;
  bool reaped_ = false;
};

}  // namespace wireup::runtime
