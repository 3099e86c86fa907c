#include "os/start_process.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

#include "os/error.h"
#include "os/limits.h"
#include "os/start_process_child.h"

#if defined(__SANITIZE_THREAD__)
// The thread sanitizer treats every clone() as a fork: in the child it resets its state, which this child
// shares with the parent. It does not intercept __clone(), the C library's other name of the call.
extern "C" int __clone(int (*)(void*), void*, int, void*, ...);
#define WIREUP_CLONE ::__clone
#else
#define WIREUP_CLONE ::clone
#endif

namespace wireup::os {

namespace {

// From linux/sched.h and linux/wait.h, which conflict with the headers of some C libraries.
constexpr int kClonePidfd = 0x1000;
constexpr auto kWaitPidfd = static_cast<idtype_t>(3);

// The child's frames need a few words each. The rest is for valgrind, and for a signal frame, although all
// signals are blocked.
constexpr std::size_t kChildStack = 64 << 10;

// A signal handler must not run in the child, which shares this process's memory. pthread_sigmask(3) would
// not block the signals that the C library uses itself.
class BlockedSignals {
 public:
  BlockedSignals() {
    const std::uint64_t all = ~std::uint64_t{0};
    if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, sizeof all) < 0) {
      throw OsError::last("sigprocmask");
    }
  }
  ~BlockedSignals() { ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  std::uint64_t before_ = 0;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  // execve(2) does not change the strings; its parameter is not const for compatibility with C.
  for (const auto& string : strings) list.push_back(const_cast<char*>(string.c_str()));
  list.push_back(nullptr);
  return list;
}

std::vector<FdMove> plan_moves(const std::vector<std::pair<int, int>>& fds) {
  std::vector<FdMove> moves;
  moves.reserve(fds.size());
  for (const auto& [source, target] : fds) {
    if (source < 0 || target < 0) throw OsError(EBADF, "dup2", std::to_string(source));
    moves.push_back({source, target, false});
  }
  const auto by_target = [](const FdMove& a, const FdMove& b) { return a.target < b.target; };
  std::sort(moves.begin(), moves.end(), by_target);
  const auto same_target = [](const FdMove& a, const FdMove& b) { return a.target == b.target; };
  const auto twice = std::adjacent_find(moves.begin(), moves.end(), same_target);
  if (twice != moves.end()) throw OsError(EINVAL, "dup2", std::to_string(twice->target));
  for (FdMove& move : moves) {
    move.collides = move.source != move.target &&
                    std::binary_search(moves.begin(), moves.end(), FdMove{-1, move.source, false}, by_target);
  }
  return moves;
}

std::uint64_t bits(const sigset_t& signals) {
  std::uint64_t result = 0;
  for (int signal = 1; signal <= kSignals; signal++) {
    if (::sigismember(&signals, signal) == 1) result |= std::uint64_t{1} << (signal - 1);
  }
  return result;
}

std::string subject_of(const ChildPlan& plan) {
  if (plan.failed_fd >= 0) return std::to_string(plan.failed_fd);
  if (std::strcmp(plan.failed_step, "execve") == 0) {
    const std::string directory = plan.directory == nullptr ? std::string() : plan.directory;
    return plan.path + (plan.error == ENOENT ? missing_interpreter(plan.path, directory) : std::string());
  }
  if (std::strcmp(plan.failed_step, "chdir") == 0) return plan.directory;
  return {};
}

std::vector<unsigned long> cpu_mask(const std::vector<std::uint32_t>& cpus) {
  constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask;
  for (const std::uint32_t cpu : cpus) {
    if (cpu / kBits >= mask.size()) mask.resize(cpu / kBits + 1);
    mask[cpu / kBits] |= 1UL << cpu % kBits;
  }
  return mask;
}

void reap(int pidfd) {
  siginfo_t info;
  // ECHILD if this process ignores SIGCHLD; then the kernel has reaped the child.
  while (::waitid(kWaitPidfd, static_cast<id_t>(pidfd), &info, WEXITED) < 0 && errno == EINTR) {
  }
}

}  // namespace

StartedProcess start_process(const ProcessSpec& spec) {
  const std::vector<char*> args = pointers(spec.args);
  const std::vector<char*> environment = pointers(spec.environment);
  std::vector<std::string> shell{"/bin/sh", spec.path};
  if (spec.args.size() > 1) shell.insert(shell.end(), spec.args.begin() + 1, spec.args.end());
  const std::vector<char*> shell_args = pointers(shell);
  std::vector<FdMove> moves = plan_moves(spec.fds);

  ChildPlan plan{};
  plan.path = spec.path.c_str();
  plan.args = args.data();
  plan.shell_args = shell_args.data();
  plan.environment = environment.data();
  plan.directory = spec.directory.empty() ? nullptr : spec.directory.c_str();
  plan.moves = moves.data();
  plan.move_count = moves.size();
  plan.new_session = spec.new_session;
  plan.die_with_parent = spec.die_with_parent;
  plan.parent = ::getpid();
  plan.join_fd = spec.join_fd;
  const std::vector<unsigned long> cpus = cpu_mask(spec.cpus);
  plan.cpus = cpus.empty() ? nullptr : cpus.data();
  plan.cpus_bytes = cpus.size() * sizeof(unsigned long);
  plan.host_name = spec.host_name.empty() ? nullptr : spec.host_name.c_str();
  plan.ignored_signals = bits(spec.ignored_signals);
  plan.blocked_signals = bits(spec.blocked_signals);
  const FdLimit own = fd_limit();
  const FileLimit files{spec.soft_files, own.hard};
  plan.files = spec.soft_files == 0 || spec.soft_files == own.soft ? nullptr : &files;
  plan.signals_to_set =
      spec.not_default == nullptr ? ~std::uint64_t{0} : plan.ignored_signals | bits(*spec.not_default);

  // In this thread's stack, whose pages exist. A new mapping for each child would cost page faults.
  alignas(std::max_align_t) char stack[kChildStack];
  StartedProcess child;
  int pidfd = -1;
  {
    const BlockedSignals blocked;
    // Not vfork(2): the child's calls would overwrite the stack frame to which the parent returns.
    constexpr int kFlags = CLONE_VM | CLONE_VFORK | kClonePidfd | SIGCHLD;
    child.pid = WIREUP_CLONE(run_child, stack + kChildStack, kFlags, &plan, &pidfd);
    if (child.pid < 0) throw OsError::last("clone");
  }
  child.pidfd.reset(pidfd);
  if (plan.failed_step != nullptr) {
    reap(pidfd);
    throw OsError(plan.error, plan.failed_step, subject_of(plan));
  }
  return child;
}

sigset_t ignored_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal = 1; signal <= kSignals; signal++) {
    struct sigaction action;
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) ::sigaddset(&set, signal);
  }
  return set;
}

bool try_wait(int pidfd, ExitStatus& status) {
  siginfo_t info{};
  while (::waitid(kWaitPidfd, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) < 0) {
    if (errno != EINTR) throw OsError::last("waitid");
  }
  if (info.si_pid == 0) return false;
  status.signaled = info.si_code != CLD_EXITED;
  status.value = info.si_status;
  status.core_dumped = info.si_code == CLD_DUMPED;
  return true;
}

}  // namespace wireup::os
