#include "os/start_process.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "os/assembly.h"
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
constexpr std::uint64_t kCloneIntoCgroup = 0x200000000;
constexpr auto kWaitPidfd = static_cast<idtype_t>(3);

// A child's frames need a few words each. The rest is for valgrind, and for a signal frame, although all
// signals are blocked. Unused pages of it take no memory.
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

std::chrono::microseconds to_microseconds(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

void reap(int pidfd) {
  siginfo_t info;
  // ECHILD if this process ignores SIGCHLD; then the kernel has reaped the child.
  while (::waitid(kWaitPidfd, static_cast<id_t>(pidfd), &info, WEXITED) < 0 && errno == EINTR) {
  }
}

struct Parent {
  pid_t pid = ::getpid();
  FdLimit files = fd_limit();
};

// A child until the caller gets it. The destructor ends and reaps a child that the caller does not get.
class Child {
 public:
  // Throws OsError if the child cannot have the fds. `spec` must outlive the object.
  Child(const ProcessSpec& spec, const Parent& parent);
  ~Child() {
    if (!pidfd_) return;
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    reap(pidfd_.get());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The child uses this object and the stack until wait_until_released() returns.
  void start(std::span<std::byte> stack, bool concurrently);
  // The errno of start(), or 0.
  int start_error() const { return start_error_; }
  void wait_until_released();

  // After that:
  std::optional<OsError> error() const;
  StartedProcess take() { return {pid_, std::move(pidfd_)}; }

 private:
  long clone_child(std::span<std::byte> stack, int flags, int& pidfd);

  std::vector<char*> args_;
  std::vector<std::string> shell_;
  std::vector<char*> shell_args_;
  std::vector<char*> environment_;
  std::vector<FdMove> moves_;
  std::vector<unsigned long> cpus_;
  FileLimit files_;
  ChildPlan plan_{};
  // Not 0 while a concurrent child uses this process's memory. The kernel sets it to 0 and wakes the futex
  // when the child ends, however it ends, and also at execve(2) (CLONE_CHILD_CLEARTID; mm_release() in
  // Linux).
  std::atomic<pid_t> in_use_ = 0;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  int start_error_ = 0;
};

Child::Child(const ProcessSpec& spec, const Parent& parent)
    : args_(pointers(spec.args)),
      shell_{"/bin/sh", spec.path},
      environment_(pointers(spec.environment)),
      moves_(plan_moves(spec.fds)),
      cpus_(cpu_mask(spec.cpus)),
      files_{spec.soft_files, parent.files.hard} {
  if (spec.args.size() > 1) shell_.insert(shell_.end(), spec.args.begin() + 1, spec.args.end());
  shell_args_ = pointers(shell_);
  plan_.path = spec.path.c_str();
  plan_.args = args_.data();
  plan_.shell_args = shell_args_.data();
  plan_.environment = environment_.data();
  plan_.directory = spec.directory.empty() ? nullptr : spec.directory.c_str();
  plan_.moves = moves_.data();
  plan_.move_count = moves_.size();
  plan_.new_session = spec.new_session;
  plan_.die_with_parent = spec.die_with_parent;
  plan_.parent = parent.pid;
  plan_.cgroup = spec.cgroup;
  plan_.cpus = cpus_.empty() ? nullptr : cpus_.data();
  plan_.cpus_bytes = cpus_.size() * sizeof(unsigned long);
  plan_.host_name = spec.host_name.empty() ? nullptr : spec.host_name.c_str();
  plan_.ignored_signals = bits(spec.ignored_signals);
  plan_.blocked_signals = bits(spec.blocked_signals);
  plan_.files = spec.soft_files == 0 || spec.soft_files == parent.files.soft ? nullptr : &files_;
  plan_.signals_to_set =
      spec.not_default == nullptr ? ~std::uint64_t{0} : plan_.ignored_signals | bits(*spec.not_default);
}

void Child::start(std::span<std::byte> stack, bool concurrently) {
  // Not vfork(2): the child's calls would overwrite the stack frame to which the parent returns.
  const int flags = CLONE_VM | kClonePidfd | (concurrently ? CLONE_CHILD_CLEARTID : CLONE_VFORK);
  int pidfd = -1;
  in_use_ = concurrently ? 1 : 0;
  const long result = clone_child(stack, flags, pidfd);
  start_error_ = result < 0 ? static_cast<int>(-result) : 0;
  if (result < 0) {
    in_use_ = 0;
  } else {
    pid_ = static_cast<pid_t>(result);
    pidfd_.reset(pidfd);
  }
}

// Returns the pid, or the negative error number.
long Child::clone_child(std::span<std::byte> stack, int flags, int& pidfd) {
  if (plan_.cgroup >= 0) {
    // A child that is started in the cgroup need not move into it. The first move of a process between
    // cgroups waits for all processors (cgroup_threadgroup_rwsem in Linux), which takes about 15 ms.
    const auto address = [](auto* pointer) { return reinterpret_cast<std::uint64_t>(pointer); };
    const CloneArguments arguments{.flags = static_cast<std::uint64_t>(flags) | kCloneIntoCgroup,
                                   .pidfd = address(&pidfd),
                                   .child_tid = address(&in_use_),
                                   .parent_tid = 0,
                                   .exit_signal = SIGCHLD,
                                   .stack = address(stack.data()),
                                   .stack_size = stack.size(),
                                   .tls = 0,
                                   .set_tid = 0,
                                   .set_tid_size = 0,
                                   .cgroup = static_cast<std::uint64_t>(plan_.cgroup)};
    const int cgroup = std::exchange(plan_.cgroup, -1);
    const long result = clone3(arguments, run_child, &plan_);
    if (result >= 0) return result;
    // Linux before 5.7, valgrind, a seccomp filter, or a cgroup that takes no processes: the child moves
    // itself.
    plan_.cgroup = cgroup;
  }
  const pid_t pid = WIREUP_CLONE(run_child, stack.data() + stack.size(), flags | SIGCHLD, &plan_, &pidfd,
                                 nullptr, &in_use_);
  return pid < 0 ? -errno : pid;
}

void Child::wait_until_released() {
  while (in_use_.load(std::memory_order_acquire) != 0) {
    // Without FUTEX_PRIVATE_FLAG, because the kernel wakes the futex without it.
    ::syscall(SYS_futex, &in_use_, FUTEX_WAIT, 1, nullptr, nullptr, 0);
  }
}

std::optional<OsError> Child::error() const {
  if (start_error_ != 0) return OsError(start_error_, "clone");
  if (plan_.failed_step != nullptr) return OsError(plan_.error, plan_.failed_step, subject_of(plan_));
  return std::nullopt;
}

using Children = std::vector<std::unique_ptr<Child>>;

// Returns when no child uses this process's memory. A null child is left out.
void start_all(const Children& children, bool concurrently) {
  const std::size_t count = concurrently ? std::min(children.size(), kConcurrentStarts) : 1;
  const auto stacks = std::make_unique_for_overwrite<std::byte[]>(count * kChildStack);
  const BlockedSignals blocked;
  for (std::size_t i = 0; i < children.size(); i++) {
    if (i >= count && children[i - count]) children[i - count]->wait_until_released();
    if (!children[i]) continue;
    const std::span stack(stacks.get() + i % count * kChildStack, kChildStack);
    children[i]->start(stack, concurrently);
    // qemu's emulation of Linux knows clone(2) only as fork(2), vfork(2), and for threads.
    if (concurrently && children[i]->start_error() == EINVAL) {
      concurrently = false;
      children[i]->start(stack, concurrently);
    }
  }
  for (const auto& child : children) {
    if (child) child->wait_until_released();
  }
}

}  // namespace

std::vector<StartResult> start_processes(std::span<const ProcessSpec> specs, StartMode mode) {
  std::vector<StartResult> results(specs.size());
  Children children(specs.size());
  const Parent parent;
  for (std::size_t i = 0; i < specs.size(); i++) {
    try {
      children[i] = std::make_unique<Child>(specs[i], parent);
    } catch (const OsError& error) {
      results[i] = error;
    }
  }
  // valgrind ends a program that calls clone(2) in another way than fork(2), vfork(2) and threads do.
  start_all(children,
            mode == StartMode::concurrent && specs.size() > 1 && kHasAssembly && !runs_on_valgrind());
  for (std::size_t i = 0; i < specs.size(); i++) {
    if (!children[i]) continue;
    if (auto error = children[i]->error()) {
      results[i] = std::move(*error);
      children[i].reset();
    }
  }
  // From here on nothing can fail.
  for (std::size_t i = 0; i < specs.size(); i++) {
    if (children[i]) results[i] = children[i]->take();
  }
  return results;
}

StartedProcess start_process(const ProcessSpec& spec) {
  StartResult result = std::move(start_processes({&spec, 1}).front());
  if (auto* error = std::get_if<OsError>(&result)) throw std::move(*error);
  return std::get<StartedProcess>(std::move(result));
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
  rusage used{};
  // The function of the C library has no rusage.
  while (::syscall(SYS_waitid, kWaitPidfd, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG, &used) < 0) {
    if (errno != EINTR) throw OsError::last("waitid");
  }
  if (info.si_pid == 0) return false;
  status.signaled = info.si_code != CLD_EXITED;
  status.value = info.si_status;
  status.core_dumped = info.si_code == CLD_DUMPED;
  status.user = to_microseconds(used.ru_utime);
  status.system = to_microseconds(used.ru_stime);
  return true;
}

}  // namespace wireup::os
