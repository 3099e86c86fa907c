// Keeps the machine busy while something else is measured.
#pragma once

#include <cstdint>

namespace wireup::bench {

// Starts busy loops, each in its own session like the processes of other users. Prints a line when all run.
// Ends them when stdin ends; they also end if this process is killed. Returns the exit code.
int load(std::uint32_t processes);

}  // namespace wireup::bench
