// The child's part of start_process(), from clone(2) to execve(2). The child shares the memory of its parent,
// which may run at the same time, with other such children.
//
// So it must not allocate, lock, use errno, or call functions that a sanitizer intercepts. It makes system
// calls (os/assembly.h) on data that the parent has prepared for it alone.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace wireup::os {

struct FdMove {
  int source;
  int target;
  // The source is the target of another move, which could overwrite it first.
  bool collides;
};

// The structure that prlimit64(2) takes.
struct FileLimit {
  std::uint64_t soft;
  std::uint64_t hard;
};

struct ChildPlan {
  const char* path;
  char* const* args;
  char* const* shell_args;  // /bin/sh path args[1]...
  char* const* environment;
  const char* directory;  // null: the parent's
  FdMove* moves;          // sorted by target; each target once
  std::size_t move_count;
  bool new_session;
  bool die_with_parent;
  pid_t parent;
  std::uint64_t ignored_signals;  // bit n - 1 for signal n
  std::uint64_t signals_to_set;   // signals whose action must change
  std::uint64_t blocked_signals;
  const FileLimit* files;     // null: the parent's limit of open files
  const unsigned long* cpus;  // null: the parent's
  std::size_t cpus_bytes;
  const char* host_name;  // null: the parent's
  int cgroup;             // the folder of the cgroup to join; -1: none

  // Set by the child: the failed step, its fd, and its errno.
  const char* failed_step;
  int failed_fd;
  int error;
};

// Signals 1 to 64, with those that glibc uses itself. (_NSIG is 65, except on MIPS.)
inline constexpr int kSignals = 64;

// The function for clone(2); its argument is a ChildPlan. Returns only after a failure.
int run_child(void* argument);

}  // namespace wireup::os
