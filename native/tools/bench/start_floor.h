// The spawn floor: the least that starting programs and waiting for them costs: posix_spawn with pipes for
// stdout and stderr, an epoll loop over the pipes and a pidfd of each.
#pragma once

#include <cstdint>

namespace wireup::bench {

// Returns the exit code.
int start_floor(std::uint32_t count, char** command);

}  // namespace wireup::bench
