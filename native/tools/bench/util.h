// Helpers for the benchmark programs.
#pragma once

#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace wireup::bench {

// Returns `result`, or ends the process if it is negative.
inline int check(int result, const char* what) {
  if (result >= 0) return result;
  std::fprintf(stderr, "wireup-bench: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// Raises the soft limit of open files to the hard limit.
inline void raise_fd_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace wireup::bench
