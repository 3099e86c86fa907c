// Many ranks in few processes, for counts at which a process for each would be what is measured: connections
// that say what a client says, each one request and its answer at a time, driven by epoll.
#pragma once

#include <cstdint>
#include <string>

namespace wireup::bench {

// Reads a PMI_ID for each rank of the table from stdin, a line each, and connects to `port` (as in PMI_PORT).
// The ranks are divided between `processes`. Returns the exit code.
int swarm(const std::string& port, std::uint32_t processes);

}  // namespace wireup::bench
