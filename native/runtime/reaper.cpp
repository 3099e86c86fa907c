#include "runtime/reaper.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "os/error.h"

namespace wireup::runtime {
namespace {

using Clock = os::Reactor::Clock;

// The first delay is far below what an agent needs to end. It doubles for a child that the kernel cannot end
// yet.
constexpr std::chrono::milliseconds kFirstDelay{5};
constexpr std::chrono::milliseconds kLongestDelay{1000};

// For the ends of all killed children when the reactor ends.
constexpr std::chrono::milliseconds kLastWait{1000};

}  // namespace

void send_signal(const os::UniqueFd& pidfd, int signal) noexcept {
  ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

bool reap(const os::UniqueFd& pidfd, os::ExitStatus& status) {
  try {
    return os::try_wait(pidfd.get(), status);
  } catch (const os::OsError&) {
    // ECHILD: the calling process waits for any child, or ignores SIGCHLD.
    return true;
  }
}

Reaper::~Reaper() {
  reactor_.cancel(timer_);
  for (const Child& child : children_) send_signal(child.process.pidfd, SIGKILL);
  const auto deadline = Clock::now() + kLastWait;
  for (const Child& child : children_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd entry{child.process.pidfd.get(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
  }
  reap_ended();
}

void Reaper::adopt(Children& children, Clock::duration grace) noexcept {
  const auto now = Clock::now();
  for (Child& child : children) {
    child.kill_at = now + grace;
    child.killed = grace <= Clock::duration::zero();
    if (child.killed) send_signal(child.process.pidfd, SIGKILL);
  }
  children_.splice(children_.end(), children);
  resume();
}

void Reaper::resume() noexcept {
  delay_ = kFirstDelay;
  schedule();
}

void Reaper::schedule() noexcept {
  reactor_.cancel(std::exchange(timer_, 0));
  if (children_.empty()) return;
  auto delay = delay_;
  const auto now = Clock::now();
  for (const Child& child : children_) {
    if (!child.killed) delay = std::min(delay, std::max(child.kill_at - now, Clock::duration::zero()));
  }
  // No owner: the handle whose child this was may have failed.
  reactor_.run_as(0, [this, delay] {
    try {
      timer_ = reactor_.after(delay, [this] {
        timer_ = 0;
        sweep();
      });
    } catch (...) {
      // Without a timer no grace can end. The children are reaped with the next one, or at the end.
      for (Child& child : children_) send_signal(child.process.pidfd, SIGKILL);
    }
  });
}

void Reaper::sweep() {
  const auto now = Clock::now();
  delay_ = std::min<Clock::duration>(2 * delay_, kLongestDelay);
  for (Child& child : children_) {
    if (child.killed || child.kill_at > now) continue;
    child.killed = true;
    send_signal(child.process.pidfd, SIGKILL);
    delay_ = kFirstDelay;
  }
  reap_ended();
  schedule();
  if (children_.empty() && on_idle_) on_idle_();
}

void Reaper::reap_ended() {
  children_.remove_if([](const Child& child) {
    os::ExitStatus status;
    return reap(child.process.pidfd, status);
  });
}

}  // namespace wireup::runtime
