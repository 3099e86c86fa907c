// The start floor: the least work of starting programs and waiting for them. It uses posix_spawn(3) with
// pipes for stdout and stderr, and an epoll loop over the pipes and pidfds.
#pragma once

#include <cstdint>

namespace wireup::bench {

// Runs `command` `count` times. Returns the exit code.
int start_floor(std::uint32_t count, char** command);

}  // namespace wireup::bench
