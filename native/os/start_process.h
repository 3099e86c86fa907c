// Starts programs with exactly the given fds, signals and environment, and waits for them by pidfd. A child
// shares the caller's memory until it calls execve(2), as a child of vfork(2) does, so a process with much
// memory starts children fast. The child inherits everything else (umask, priority, scheduling, limits) from
// the caller.
//
// Needs Linux 5.9 (close_range). Threads: any; the calling thread waits until its children have called
// execve(2) or have ended. A stopped child (SIGSTOP, or a debugger) holds it until it continues. A child that
// was killed before its execve(2) counts as started.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "os/error.h"
#include "os/fd.h"

namespace wireup::os {

struct ProcessSpec {
  std::string path;                      // the file to execute, without a PATH search (see find_program)
  std::vector<std::string> args;         // argv with argv[0]
  std::vector<std::string> environment;  // "NAME=value", complete
  std::string directory;                 // empty: the caller's; `path` is relative to it
  // {caller's fd, child's fd}, in any order and permutation. A caller's fd may occur more than once. The
  // child gets only these fds: all others are closed in it, CLOEXEC or not.
  std::vector<std::pair<int, int>> fds;
  // Makes the child the leader of a new session (setsid(2)), without a controlling terminal. It then also
  // leads a POSIX process group that it cannot leave.
  bool new_session = false;
  // The kernel kills the child (SIGKILL) when the thread that started it ends.
  bool die_with_parent = false;
  // CPUs that the child may run on; empty: those of the caller.
  std::vector<std::uint32_t> cpus;
  // Result of gethostname(2) in the child, at most 64 bytes; empty: the caller's. It takes a new UTS
  // namespace, which needs CAP_SYS_ADMIN. If none can be made, the child keeps the caller's name.
  std::string host_name;
  // The folder of the cgroup (version 2) in which the child is started, if the kernel allows it; -1: the
  // caller's cgroup.
  int cgroup = -1;
  // All other signals have the default action and are unblocked in the child.
  sigset_t ignored_signals{};
  sigset_t blocked_signals{};
  // The child's soft limit of open files, not above the caller's hard limit; 0: the caller's soft limit.
  std::uint64_t soft_files = 0;
  // The signals whose action in the caller is not the default, if the caller knows them and does not change
  // them. This saves one system call for each other signal. Null: unknown.
  const sigset_t* not_default = nullptr;
};

struct StartedProcess {
  pid_t pid = -1;
  UniqueFd pidfd;
};

// Throws OsError: its syscall is the failed step ("execve", "chdir", "clone", "dup2", ...), its subject the
// file, directory or fd. missing_interpreter() follows the name of a file. If the kernel refuses a file with
// ENOEXEC, /bin/sh runs it, as execvp(3) does. No child is left after an exception.
StartedProcess start_process(const ProcessSpec& spec);

// How many children start_processes() starts at a time. Each waits for a CPU, and longest after setsid(2),
// which moves it into a scheduling group of its own (autogroup, sched(7)). If the children wait at the same
// time, their waits overlap. On two busy CPUs, 4 at a time took half of the time of one by one, 8 a quarter,
// 16 a fifth, and 64 a seventh.
inline constexpr std::size_t kConcurrentStarts = 16;

// What start_process() returns or throws.
using StartResult = std::variant<StartedProcess, OsError>;

enum class StartMode : std::uint8_t {
  // kConcurrentStarts at a time. On a busy machine the caller then waits much shorter for them. Under
  // valgrind and on processors other than x86-64 and arm64, it is one_by_one.
  concurrent,
  one_by_one,
};

// Starts each of them as start_process() does. The results are in the order of the specs, and a child that
// cannot be started does not affect the others. Throws OsError or std::bad_alloc if it cannot start any; then
// no child is left.
std::vector<StartResult> start_processes(std::span<const ProcessSpec> specs,
                                         StartMode mode = StartMode::concurrent);

// The signals that this process ignores now.
sigset_t ignored_signals();

// The file that execvp(3) would execute: `program` itself if it contains a '/', else the first executable
// file of that name in `path` (a value of PATH; empty: the system's default). Both are relative to
// `directory`, and so is the result, as start_process() takes it. Throws OsError("execve", program): ENOENT,
// or EACCES if a file was found that is not executable or not a regular file.
std::string find_program(const std::string& program, const std::string& path, const std::string& directory);

// The reason why execve(2) reports ENOENT for a program that exists: " (its interpreter ...)" with the
// missing interpreter of its #! line or of its ELF header. Empty if no interpreter is missing.
std::string missing_interpreter(const std::string& program, const std::string& directory);

struct ExitStatus {
  bool signaled = false;
  int value = 0;  // the exit code, or the signal's number
  bool core_dumped = false;
  // The processor time of the process and of its descendants that it has waited for.
  std::chrono::microseconds user = {};
  std::chrono::microseconds system = {};
};

// Reaps the child of `pidfd` if it has ended. Returns false while it runs. Throws OsError (ECHILD: it was
// reaped elsewhere).
bool try_wait(int pidfd, ExitStatus& status);

}  // namespace wireup::os
