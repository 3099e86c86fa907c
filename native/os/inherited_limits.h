// The limits and the priority that programs started on another host get from this process. A program on this
// host inherits them. Threads: any.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace wireup::os {

// The soft limits (RLIMIT_...; ~0: unlimited) that a user sets for programs: of the core file, of memory, of
// processor time and of the size of files. The limit of open files is in os/limits.h.
std::vector<std::pair<std::uint32_t, std::uint64_t>> soft_limits();

// The nice value, -20 to 19.
std::int32_t niceness();

// Gives this process what another host's process had, as far as it is permitted here: soft limits not above
// the hard ones, and a priority that is not higher.
void take_limits(const std::vector<std::pair<std::uint32_t, std::uint64_t>>& limits);
void take_niceness(std::int32_t nice);

}  // namespace wireup::os
