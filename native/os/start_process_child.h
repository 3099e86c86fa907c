// The child's half of start_process(): from clone to exec, in memory shared with the parent, whose thread
// stands still.
//
// So nothing here may allocate, lock, or call what a sanitizer intercepts: only raw system calls on what the
// parent has prepared.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace wireup::os {

struct FdMove {
  int source;
  int target;
  // The source is another's target, and would be overwritten before its turn.
  bool collides;
};

// What prlimit64 takes.
struct FileLimit {
  std::uint64_t soft;
  std::uint64_t hard;
};

struct ChildPlan {
  const char* path;
  char* const* args;
  char* const* shell_args;  // /bin/sh path args[1]...
  char* const* environment;
  const char* directory;  // null: stay
  FdMove* moves;          // sorted by target, no target twice
  std::size_t move_count;
  bool new_session;
  bool die_with_parent;
  pid_t parent;
  std::uint64_t ignored_signals;  // bit n - 1 for signal n
  std::uint64_t signals_to_set;   // the others are as they should be
  std::uint64_t blocked_signals;
  const FileLimit* files;     // null: the parent's limit of open files
  const unsigned long* cpus;  // null: all that the parent may run on
  std::size_t cpus_bytes;
  const char* host_name;  // null: the parent's
  int join_fd;            // -1: none; "0" is written to it

  // Written by the child: the step that failed, and the fd that it was about.
  const char* failed_step;
  int failed_fd;
  int error;
};

// Signals 1 to 64 (_NSIG - 1 everywhere but on MIPS), with those that glibc keeps for itself.
inline constexpr int kSignals = 64;

// For clone(): returns only when it has failed.
int run_child(void* plan);

}  // namespace wireup::os
