#include "os/start_process_child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>

#include "os/assembly.h"

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

// As in shells. The parent reports the error instead.
constexpr int kFailedChild = 127;

// Returns whether the system call succeeded, and records the failure of `step` if not.
WIREUP_IN_CHILD bool succeeded(ChildPlan& plan, const char* step, long result, int fd = -1) {
  if (result >= 0) return true;
  plan.error = static_cast<int>(-result);
  plan.failed_step = step;
  plan.failed_fd = fd;
  return false;
}

WIREUP_IN_CHILD bool begin_session(ChildPlan& plan) {
  return !plan.new_session || succeeded(plan, "setsid", system_call(SYS_setsid));
}

WIREUP_IN_CHILD bool tie_to_parent(ChildPlan& plan) {
  if (!plan.die_with_parent) return true;
  if (!succeeded(plan, "prctl", system_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))) return false;
  // The parent may have been killed before prctl(2). 0: the parent is not visible in this pid namespace.
  const long parent = system_call(SYS_getppid);
  return succeeded(plan, "getppid", parent == plan.parent || parent == 0 ? 0 : -ESRCH);
}

WIREUP_IN_CHILD bool change_directory(ChildPlan& plan) {
  return plan.directory == nullptr || succeeded(plan, "chdir", system_call(SYS_chdir, plan.directory));
}

WIREUP_IN_CHILD void join_cgroup(const ChildPlan& plan) {
  if (plan.cgroup < 0) return;
  // set_fds() closes it.
  const long procs = system_call(SYS_openat, plan.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (procs >= 0) system_call(SYS_write, procs, "0", 1);
}

WIREUP_IN_CHILD bool bind_to_cpus(ChildPlan& plan) {
  return plan.cpus == nullptr || succeeded(plan, "sched_setaffinity",
                                           system_call(SYS_sched_setaffinity, 0, plan.cpus_bytes, plan.cpus));
}

WIREUP_IN_CHILD bool set_host_name(ChildPlan& plan) {
  if (plan.host_name == nullptr) return true;
  // Not permitted, or too many namespaces: the child keeps the caller's host name.
  if (system_call(SYS_unshare, CLONE_NEWUTS) < 0) return true;
  std::size_t size = 0;
  while (plan.host_name[size] != '\0') size++;
  return succeeded(plan, "sethostname", system_call(SYS_sethostname, plan.host_name, size));
}

WIREUP_IN_CHILD bool close_fds(ChildPlan& plan, unsigned first, unsigned last) {
  return first > last || succeeded(plan, "close_range", system_call(SYS_close_range, first, last, 0));
}

WIREUP_IN_CHILD bool set_fds(ChildPlan& plan) {
  FdMove* const end = plan.moves + plan.move_count;
  const int above = plan.move_count == 0 ? 0 : end[-1].target + 1;
  for (FdMove* move = plan.moves; move != end; move++) {
    if (!move->collides) continue;
    const long fd = system_call(SYS_fcntl, move->source, F_DUPFD_CLOEXEC, above);
    if (!succeeded(plan, "fcntl", fd, move->source)) return false;
    move->source = static_cast<int>(fd);
  }
  for (FdMove* move = plan.moves; move != end; move++) {
    // Both calls clear CLOEXEC. dup3(2) refuses equal numbers.
    if (move->source == move->target) {
      const long result = system_call(SYS_fcntl, move->target, F_SETFD, 0);
      if (!succeeded(plan, "fcntl", result, move->source)) return false;
    } else {
      const long result = system_call(SYS_dup3, move->source, move->target, 0);
      if (!succeeded(plan, "dup2", result, move->source)) return false;
    }
  }
  unsigned next = 0;
  for (FdMove* move = plan.moves; move != end; move++) {
    const auto target = static_cast<unsigned>(move->target);
    if (target > 0 && !close_fds(plan, next, target - 1)) return false;
    next = target + 1;
  }
  return close_fds(plan, next, ~0U);
}

WIREUP_IN_CHILD bool limit_files(ChildPlan& plan) {
  return plan.files == nullptr ||
         succeeded(plan, "setrlimit", system_call(SYS_prlimit64, 0, RLIMIT_NOFILE, plan.files, nullptr));
}

WIREUP_IN_CHILD bool set_signals(ChildPlan& plan) {
  for (int signal = 1; signal <= kSignals; signal++) {
    if (signal == SIGKILL || signal == SIGSTOP || (plan.signals_to_set >> (signal - 1) & 1) == 0) continue;
    const bool ignored = (plan.ignored_signals >> (signal - 1) & 1) != 0;
    const KernelSigaction action{ignored ? kIgnore : kDefault, 0, 0, 0};
    const long result = system_call(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
    if (!succeeded(plan, "sigaction", result)) return false;
  }
  return true;
}

WIREUP_IN_CHILD bool block_signals(ChildPlan& plan) {
  const std::uint64_t& blocked = plan.blocked_signals;
  return succeeded(plan, "sigprocmask",
                   system_call(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof blocked));
}

}  // namespace

WIREUP_IN_CHILD int run_child(void* argument) {
  ChildPlan& plan = *static_cast<ChildPlan*>(argument);
  if (!begin_session(plan) || !tie_to_parent(plan) || !change_directory(plan)) return kFailedChild;
  join_cgroup(plan);
  // The limit is set after the fds, whose numbers may exceed it. The handlers are reset before signals are
  // unblocked, because a handler of the parent must not run here.
  if (!bind_to_cpus(plan) || !set_host_name(plan) || !set_fds(plan) || !limit_files(plan) ||
      !set_signals(plan) || !block_signals(plan)) {
    return kFailedChild;
  }
  long result = system_call(SYS_execve, plan.path, plan.args, plan.environment);
  if (result == -ENOEXEC) {
    result = system_call(SYS_execve, plan.shell_args[0], plan.shell_args, plan.environment);
  }
  succeeded(plan, "execve", result);
  return kFailedChild;
}

}  // namespace wireup::os
