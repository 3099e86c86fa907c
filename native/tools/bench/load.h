// What keeps a machine busy while something else is measured.
#pragma once

#include <cstdint>

namespace wireup::bench {

// So many processes that never wait, each in a session of its own, as those of other users are. Prints a line
// when all of them run; ends them when stdin ends, and they end when it is killed. Returns the exit code.
int load(std::uint32_t processes);

}  // namespace wireup::bench
