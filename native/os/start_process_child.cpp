#include "os/start_process_child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

// The sanitizers record a thread's calls and stack. A function that never returns would corrupt the record.
#define WIREUP_IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread")))

namespace wireup::os {

namespace {

// The structure of the system call rt_sigaction, which differs from that of sigaction(3). Without flags all
// fields after the handler are zero, so architectures without a restorer work too.
struct KernelSigaction {
  std::uintptr_t handler;
  unsigned long flags;
  std::uintptr_t restorer;
  std::uint64_t mask;
};

constexpr std::uintptr_t kDefault = 0;  // SIG_DFL
constexpr std::uintptr_t kIgnore = 1;   // SIG_IGN

WIREUP_IN_CHILD bool failed(ChildPlan& plan, const char* step, int fd = -1) {
  plan.error = errno;
  plan.failed_step = step;
  plan.failed_fd = fd;
  return false;
}

WIREUP_IN_CHILD bool set_signals(ChildPlan& plan) {
  for (int signal = 1; signal <= kSignals; signal++) {
    if (signal == SIGKILL || signal == SIGSTOP || (plan.signals_to_set >> (signal - 1) & 1) == 0) continue;
    const bool ignored = (plan.ignored_signals >> (signal - 1) & 1) != 0;
    const KernelSigaction action{ignored ? kIgnore : kDefault, 0, 0, 0};
    if (::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask) < 0) {
      return failed(plan, "sigaction");
    }
  }
  return true;
}

WIREUP_IN_CHILD bool block_signals(ChildPlan& plan) {
  const std::uint64_t& blocked = plan.blocked_signals;
  return ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof blocked) >= 0 ||
         failed(plan, "sigprocmask");
}

WIREUP_IN_CHILD bool limit_files(ChildPlan& plan) {
  if (plan.files == nullptr) return true;
  return ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, plan.files, nullptr) >= 0 || failed(plan, "setrlimit");
}

WIREUP_IN_CHILD bool tie_to_parent(ChildPlan& plan) {
  if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return failed(plan, "prctl");
  // The parent may have been killed before prctl(2). 0: the parent is not visible in this pid namespace.
  const long parent = ::syscall(SYS_getppid);
  if (parent == plan.parent || parent == 0) return true;
  errno = ESRCH;
  return failed(plan, "getppid");
}

WIREUP_IN_CHILD bool bind_to_cpus(ChildPlan& plan) {
  if (plan.cpus == nullptr) return true;
  return ::syscall(SYS_sched_setaffinity, 0, plan.cpus_bytes, plan.cpus) >= 0 ||
         failed(plan, "sched_setaffinity");
}

WIREUP_IN_CHILD void join_cgroup(const ChildPlan& plan) {
  if (plan.join_fd >= 0) ::syscall(SYS_write, plan.join_fd, "0", 1);
}

WIREUP_IN_CHILD bool set_host_name(ChildPlan& plan) {
  if (plan.host_name == nullptr) return true;
  // Not permitted, or too many namespaces: the child keeps the caller's host name.
  if (::syscall(SYS_unshare, CLONE_NEWUTS) < 0) return true;
  std::size_t size = 0;
  while (plan.host_name[size] != '\0') size++;
  return ::syscall(SYS_sethostname, plan.host_name, size) >= 0 || failed(plan, "sethostname");
}

WIREUP_IN_CHILD bool close_fds(ChildPlan& plan, unsigned first, unsigned last) {
  if (first > last || ::syscall(SYS_close_range, first, last, 0) == 0) return true;
  return failed(plan, "close_range");
}

WIREUP_IN_CHILD bool set_fds(ChildPlan& plan) {
  FdMove* const end = plan.moves + plan.move_count;
  const int above = plan.move_count == 0 ? 0 : end[-1].target + 1;
  for (FdMove* move = plan.moves; move != end; move++) {
    if (!move->collides) continue;
    const long fd = ::syscall(SYS_fcntl, move->source, F_DUPFD_CLOEXEC, above);
    if (fd < 0) return failed(plan, "fcntl", move->source);
    move->source = static_cast<int>(fd);
  }
  unsigned next = 0;
  for (FdMove* move = plan.moves; move != end; move++) {
    // Both calls clear CLOEXEC. dup3(2) refuses equal numbers.
    if (move->source == move->target) {
      if (::syscall(SYS_fcntl, move->target, F_SETFD, 0) < 0) return failed(plan, "fcntl", move->source);
    } else if (::syscall(SYS_dup3, move->source, move->target, 0) < 0) {
      return failed(plan, "dup2", move->source);
    }
  }
  for (FdMove* move = plan.moves; move != end; move++) {
    const auto target = static_cast<unsigned>(move->target);
    if (target > 0 && !close_fds(plan, next, target - 1)) return false;
    next = target + 1;
  }
  return close_fds(plan, next, ~0U);
}

}  // namespace

WIREUP_IN_CHILD int run_child(void* argument) {
  ChildPlan& plan = *static_cast<ChildPlan*>(argument);
  if (plan.new_session && ::syscall(SYS_setsid) < 0) {
    failed(plan, "setsid");
    return 127;
  }
  if (plan.die_with_parent && !tie_to_parent(plan)) return 127;
  if (plan.directory != nullptr && ::syscall(SYS_chdir, plan.directory) < 0) {
    failed(plan, "chdir");
    return 127;
  }
  join_cgroup(plan);
  if (!bind_to_cpus(plan) || !set_host_name(plan)) return 127;
  // The limit is set after the fds, whose numbers may exceed it. The handlers are reset before signals are
  // unblocked, because a handler of the parent must not run here.
  if (!set_fds(plan) || !limit_files(plan) || !set_signals(plan) || !block_signals(plan)) return 127;
  ::syscall(SYS_execve, plan.path, plan.args, plan.environment);
  if (errno == ENOEXEC) {
    ::syscall(SYS_execve, plan.shell_args[0], plan.shell_args, plan.environment);
  }
  failed(plan, "execve");
  return 127;
}

}  // namespace wireup::os
