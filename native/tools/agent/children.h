// The children of this process, zombies among them, as /proc shows them: its own, and the orphans that a
// subreaper inherits. /proc may be that of a pid namespace above ours. Empty where /proc cannot be read.
#pragma once

#include <sys/types.h>

#include <vector>

namespace wireup::agent {

std::vector<pid_t> children();

}  // namespace wireup::agent
