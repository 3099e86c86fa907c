#include "tools/agent/descendants.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "os/error.h"
#include "tools/agent/children.h"

namespace wireup::agent {
namespace {

// How long a zombie may wait while the job runs. Finding zombies takes a walk over all children.
constexpr std::chrono::milliseconds kReapDelay{10};
// Interval at which new orphans are looked for at the end of the job.
constexpr std::chrono::milliseconds kLookDelay{20};

}  // namespace

Descendants::Descendants(os::Reactor& reactor, const Ranks& ranks, const Router& router)
    : reactor_(reactor), ranks_(ranks), router_(router) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) throw os::OsError::last("sigprocmask");
  signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_) throw os::OsError::last("signalfd");
  reactor_.add(signals_.get(), EPOLLIN, *this);
}

Descendants::~Descendants() {
  if (timer_ != 0) reactor_.cancel(timer_);
  reactor_.remove(signals_.get(), *this);
}

void Descendants::end(std::function<void()> done) {
  done_ = std::move(done);
  if (timer_ != 0) reactor_.cancel(timer_);
  look();
}

void Descendants::on_ready(std::uint32_t) {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
  }
  if (!done_) {
    if (timer_ == 0) look_later(kReapDelay);
    return;
  }
  const bool any_left = reap();
  if (any_left && (!killed_.empty() || !ranks_.none_running())) return;
  // A killed process has ended, so its children are children of the agent now.
  reactor_.cancel(timer_);
  look();
}

void Descendants::look_later(os::Reactor::Clock::duration delay) {
  timer_ = reactor_.after(delay, [this] { look(); });
}

void Descendants::look() {
  timer_ = 0;
  const bool any_left = reap();
  if (!done_) return;
  if (any_left) {
    const bool commands = kill_children();
    if (commands || !killed_.empty() || !ranks_.none_running()) {
      look_later(kLookDelay);
      return;
    }
  }
  std::exchange(done_, nullptr)();
}

bool Descendants::reap() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if (info.si_pid == 0) return true;
    if (is_kept(info.si_pid)) {
      // waitid(2) returns this process again, and no other zombie, until it has been reaped.
      if (timer_ == 0 && !done_) look_later(kReapDelay);
      return true;
    }
    killed_.erase(info.si_pid);
    ::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
  }
}

bool Descendants::kill_children() {
  bool commands = false;
  for (const pid_t pid : children()) {
    commands = commands || router_.is_command(pid);
    if (!is_kept(pid) && !killed_.contains(pid) && ::kill(pid, SIGKILL) == 0) killed_.insert(pid);
  }
  return commands;
}

}  // namespace wireup::agent
