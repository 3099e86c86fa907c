// What /proc calls processes: it may be mounted by a pid namespace above ours, which has other numbers for
// them. Threads: any.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace wireup::os {

// The process ids of /proc/`process` (a number, or "self") in the pid namespace of /proc and in each below
// it, down to the process's own ("NSpid:", proc_pid_status(5)). Empty where there is no such process.
std::vector<pid_t> proc_pids(const std::string& process);

// Whether the numbers in /proc are those that our system calls take.
bool proc_is_of_our_namespace();

}  // namespace wireup::os
