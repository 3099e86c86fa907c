// Processor time and memory of a launcher's process tree, without its ranks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace wireup::bench {

struct ThreadUse {
  pid_t process;
  pid_t parent;  // of the process; 0: it is the root
  pid_t thread;
  std::string name;
  std::uint64_t cpu_ns;  // user and system
};

struct Usage {
  std::vector<ThreadUse> threads;
  std::uint64_t memory = 0;  // bytes of anonymous memory of all processes
};

// Leaves out the processes in `ranks`, and processes that end during the measurement.
Usage usage_of(pid_t root, const std::set<pid_t>& ranks);

}  // namespace wireup::bench
