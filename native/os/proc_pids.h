// Process ids in /proc. /proc may be mounted by an outer pid namespace, which has other numbers for the same
// processes. Threads: any.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace wireup::os {

// The ids of /proc/`process` (a number, or "self") in the pid namespace of /proc and in each inner one, down
// to the process's own namespace ("NSpid:", proc_pid_status(5)). Empty if there is no such process.
std::vector<pid_t> proc_pids(const std::string& process);

// Whether the numbers in /proc are those that this process's system calls take.
bool proc_is_of_our_namespace();

}  // namespace wireup::os
