#include "tools/agent/guard.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "os/error.h"
#include "os/private_directory.h"
#include "tools/agent/children.h"
#include "wire/agent_messages.h"

namespace wireup::agent {
namespace {

// A stopped agent may continue within this time. SIGCONT reaches the processes of a POSIX process group one
// after the other, and a user who stopped the agent by mistake can undo it.
constexpr std::chrono::seconds kStopTimeout{1};
// The interval at which the agent reports that its loop runs.
constexpr std::chrono::milliseconds kLoopBeat{500};
// A loop that has not run for so long hangs. Links of other hosts end after 5 s (runtime/heartbeats.h). They
// end first, so that the message about the host gives this reason.
constexpr std::chrono::milliseconds kLoopSilence{5750};
// The interval at which the guard checks that.
constexpr std::chrono::milliseconds kLoopCheck{250};
// Interval and number of searches for children of killed orphans. A process that is then still stuck in the
// kernel (a dead network file system) is left to init.
constexpr timespec kSweepDelay{0, 10'000'000};
constexpr int kSweeps = 150;

void close_all_fds() { ::syscall(SYS_close_range, 0U, ~0U, 0U); }

// Kills and reaps children until none is left that the kernel lets this process kill.
void sweep(const Cgroup& cgroup) {
  for (int i = 0; i < kSweeps; ++i) {
    siginfo_t info{};
    int result = 0;
    while ((result = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG)) == 0 && info.si_pid != 0) info = {};
    if (result != 0 && errno == ECHILD && cgroup.remove()) return;
    cgroup.kill();
    for (const pid_t child : children()) ::kill(child, SIGKILL);
    ::nanosleep(&kSweepDelay, nullptr);
  }
}

bool is_stopped(pid_t agent) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(agent), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

// Returns whether the agent, which is stopped, does not continue in time.
bool stays_stopped(pid_t agent, pid_t launcher) {
  using Clock = std::chrono::steady_clock;
  for (;;) {
    const auto begin = Clock::now();
    const timespec timeout{kStopTimeout.count(), 0};
    ::nanosleep(&timeout, nullptr);
    if (!is_stopped(agent)) return false;
    // Or the guard was stopped too, and has continued first. The agent then gets the whole time again, unless
    // the guard has continued because its launcher is gone.
    if (Clock::now() < begin + kStopTimeout + kLoopCheck || ::getppid() != launcher) return true;
  }
}

[[noreturn]] void end_like(const siginfo_t& agent) {
  if (agent.si_code == CLD_EXITED) ::_exit(agent.si_status);
  // The agent has written its core file. A core file of the guard would be useless.
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(agent.si_status, SIG_DFL);
  ::raise(agent.si_status);
  ::_exit(1);
}

// Removes the folders that killed launchers of this user have left, in the parents of lib/job-socket.ts.
void remove_job_folders() {
  const char* named = std::getenv("XDG_RUNTIME_DIR");
  if (named != nullptr) os::remove_dead_directories(named);
  os::remove_dead_directories("/run/user/" + std::to_string(::geteuid()));
  os::remove_dead_directories("/tmp");
}

// Waits until a child has changed its state, and checks meanwhile whether the agent's loop hangs.
class ChildWait {
 public:
  // Blocks SIGCHLD.
  explicit ChildWait(const LoopNote& loop) : loop_(loop) {
    sigemptyset(&child_signal_);
    sigaddset(&child_signal_, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child_signal_, nullptr);
  }

  enum class Result { child, hangs, failed };
  // On `child`, `info` is what waitid() reports, and the child waits to be reaped.
  Result wait(siginfo_t& info) {
    for (;;) {
      info = {};
      if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOWAIT | WNOHANG) == 0) {
        if (info.si_pid != 0) return Result::child;
      } else if (errno != EINTR) {
        return Result::failed;
      }
      if (hangs()) return Result::hangs;
      // The agent sends SIGCHLD too, when the watch of its loop begins.
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(kLoopCheck);
      const timespec interval{seconds.count(), std::chrono::nanoseconds(kLoopCheck - seconds).count()};
      ::sigtimedwait(&child_signal_, nullptr, loop_.last() ? &interval : nullptr);
    }
  }

 private:
  bool hangs() {
    const std::optional<LoopNote::Clock::time_point> last = loop_.last();
    if (!last) return false;
    const LoopNote::Clock::time_point now = LoopNote::Clock::now();
    // If the guard did not run, the agent may not have run either, for example because all processes of the
    // job were stopped.
    if (now > checked_ + kLoopCheck + kLoopBeat) ran_since_ = now;
    checked_ = now;
    return now > std::max(*last, ran_since_) + kLoopSilence;
  }

  const LoopNote& loop_;
  sigset_t child_signal_;
  LoopNote::Clock::time_point checked_ = {};
  LoopNote::Clock::time_point ran_since_ = {};
};

[[noreturn]] void guard(pid_t launcher, pid_t agent, const Cgroup& cgroup, const GuardNotes& notes) {
  // Only the agent may hold its fds, so that their peers notice when it ends.
  close_all_fds();
  ChildWait children(notes.loop);
  bool stopped = false;
  bool hung = false;
  for (;;) {
    siginfo_t info{};
    // Orphans arrive here too, if the agent was not yet a subreaper.
    const ChildWait::Result result = children.wait(info);
    if (result == ChildWait::Result::failed) ::_exit(1);
    if (result == ChildWait::Result::hangs) {
      hung = true;
      ::kill(agent, SIGKILL);
      ::waitid(P_PID, static_cast<id_t>(agent), &info, WEXITED | WNOWAIT);
    }
    if (info.si_pid == agent && info.si_code == CLD_STOPPED) {
      if (!stays_stopped(agent, launcher)) continue;
      stopped = true;
      ::kill(agent, SIGKILL);
      ::waitid(P_PID, static_cast<id_t>(agent), &info, WEXITED | WNOWAIT);
    }
    siginfo_t reaped{};
    ::waitid(P_PID, static_cast<id_t>(info.si_pid), &reaped, WEXITED | WNOHANG);
    if (reaped.si_pid != agent) continue;
    sweep(cgroup);
    // If the agent has removed it, this does nothing.
    os::remove_dead_directory(notes.folder.path());
    // A killed launcher has left the folder of its job's socket.
    if (::getppid() != launcher) remove_job_folders();
    if (stopped) ::_exit(wire::agent::kExitStopped);
    if (hung) ::_exit(wire::agent::kExitHung);
    end_like(reaped);
  }
}

}  // namespace

void FolderNote::set(const std::string& path) {
  const std::size_t size = std::min(path.size(), memory_->text.size());
  std::copy_n(path.begin(), size, memory_->text.begin());
  memory_->size = size;
}

std::string FolderNote::path() const { return {memory_->text.data(), memory_->size}; }

std::optional<LoopNote::Clock::time_point> LoopNote::last() const {
  const Clock::duration time(memory_->load());
  if (time == Clock::duration::zero()) return std::nullopt;
  return Clock::time_point(time);
}

pid_t start_guard(const Cgroup& cgroup, const GuardNotes& notes) {
  // If the wireup command, guard and agent were all stopped, and the command is then killed, SIGCONT
  // continues the guard, which then kills the agent.
  if (::prctl(PR_SET_PDEATHSIG, SIGCONT) != 0) throw os::OsError::last("prctl", "PR_SET_PDEATHSIG");
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw os::OsError::last("prctl", "PR_SET_CHILD_SUBREAPER");
  const pid_t self = ::getpid();
  const pid_t launcher = ::getppid();
  const pid_t agent = ::fork();
  if (agent < 0) throw os::OsError::last("fork");
  if (agent > 0) guard(launcher, agent, cgroup, notes);
  // If the guard ends, SIGCONT continues a stopped agent, which then notices it.
  if (::prctl(PR_SET_PDEATHSIG, SIGCONT) != 0) throw os::OsError::last("prctl", "PR_SET_PDEATHSIG");
  if (::getppid() != self) throw os::OsError(ESRCH, "getppid");
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw os::OsError::last("prctl", "PR_SET_CHILD_SUBREAPER");
  return self;
}

void LoopBeats::start() {
  if (timer_ != 0) return;
  beat();
  // It may wait without a time limit.
  ::kill(guard_, SIGCHLD);
}

void LoopBeats::beat() {
  note_.set(LoopNote::Clock::now());
  timer_ = reactor_.after(kLoopBeat, [this] { beat(); });
}

GuardWatch::GuardWatch(os::Reactor& reactor, pid_t guard, std::function<void()> gone)
    : reactor_(reactor), gone_(std::move(gone)) {
  pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, guard, 0)));
  if (!pidfd_) throw os::OsError::last("pidfd_open");
  // Another process may have the guard's number now.
  if (::getppid() != guard) throw os::OsError(ESRCH, "getppid");
  reactor_.add(pidfd_.get(), EPOLLIN, *this);
}

GuardWatch::~GuardWatch() { reactor_.remove(pidfd_.get(), *this); }

void GuardWatch::on_ready(std::uint32_t) {
  reactor_.remove(pidfd_.get(), *this);
  gone_();
}

}  // namespace wireup::agent
