// Starting a program with exactly the fds, signals and environment it is meant to have, and waiting for it by
// pidfd. The memory of the caller is not copied (the child shares it until it execs, as with vfork), so that
// a large owner starts small children fast. What is not named here (umask, priority, scheduling, limits) is
// the caller's.
//
// Needs Linux 5.9 (close_range). Threads: any; the calling thread stands still until the child has execed.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "os/fd.h"

namespace wireup::os {

struct ProcessSpec {
  std::string path;                      // the file to execute; no PATH search here (see find_program)
  std::vector<std::string> args;         // argv, argv[0] included
  std::vector<std::string> environment;  // "NAME=value", complete
  std::string directory;                 // empty: the caller's; `path` is relative to it
  // {ours, the child's number}, in any order and permutation; one of ours may be given twice. The child has
  // these fds, blocking or not as they are, and no others: whatever else is open is closed, CLOEXEC or not.
  std::vector<std::pair<int, int>> fds;
  // Put into a new session: without a controlling terminal, and the leader of a process group that it cannot
  // leave.
  bool new_session = false;
  // Killed (SIGKILL) when the thread that spawned it ends.
  bool die_with_parent = false;
  // The CPUs that the child may run on; empty: all that the caller may.
  std::vector<std::uint32_t> cpus;
  // What gethostname() says in the child, at most 64 bytes; empty: the caller's. Needs CAP_SYS_ADMIN (a UTS
  // namespace is made for it) and is passed over where none can be made.
  std::string host_name;
  // cgroup.procs of a cgroup that the child is to be in from its first instruction on, where the kernel lets
  // it; -1: the caller's.
  int join_fd = -1;
  // Every signal is default and unblocked in the child, except these.
  sigset_t ignored_signals{};
  sigset_t blocked_signals{};
  // The child's soft limit of open files, at most the caller's hard one; 0: the caller's.
  std::uint64_t soft_files = 0;
  // The signals that are not default in the caller, for one who knows and in whom it does not change: so many
  // system calls fewer. Null: any may be.
  const sigset_t* not_default = nullptr;
};

struct StartedProcess {
  pid_t pid = -1;
  UniqueFd pidfd;
};

// Throws OsError: the failing step as its syscall ("execve", "chdir", "clone", "dup2", ...), with the file,
// directory or fd as its subject; behind a file stands its missing_interpreter(). A file without a #! line
// that the kernel refuses (ENOEXEC) is run by /bin/sh, as execvp does. After a throw there is no child.
StartedProcess start_process(const ProcessSpec& spec);

// The signals that are ignored in this process now.
sigset_t ignored_signals();

// What execvp would execute: `program` itself when it holds a '/', else the first executable file of that
// name in `path` (the value of PATH; empty: the system's default), both relative to `directory`, as a
// start_process() with that directory takes it. Throws OsError("execve", program): ENOENT, EACCES (found, but
// not executable or not a file).
std::string find_program(const std::string& program, const std::string& path, const std::string& directory);

// What execve has not found of a program that is there, in parentheses and behind a blank: the interpreter of
// its #! line, or the loader that an ELF file names. Empty where there is none, and where that one is there.
std::string missing_interpreter(const std::string& program, const std::string& directory);

struct ExitStatus {
  bool signaled = false;
  int value = 0;  // the exit code, or the signal's number
  bool core_dumped = false;
};

// Reaps the child of `pidfd` if it has ended. Returns false while it runs. Throws OsError (ECHILD: somebody
// else has reaped it).
bool try_wait(int pidfd, ExitStatus& status);

}  // namespace wireup::os
