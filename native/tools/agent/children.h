// The children of this process in /proc, with zombies: those that it started, and the orphans that it
// inherited as a subreaper. Works with the /proc of an outer pid namespace too. Empty if /proc cannot be
// read.
#pragma once

#include <sys/types.h>

#include <vector>

namespace wireup::agent {

std::vector<pid_t> children();

}  // namespace wireup::agent
