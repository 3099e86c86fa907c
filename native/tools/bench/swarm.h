// Many ranks in few processes, for counts at which one process for each rank would dominate the measurement.
// Each connection sends the requests of a client, one at a time, in an epoll loop.
#pragma once

#include <cstdint>
#include <string>

namespace wireup::bench {

// Reads one PMI_ID a line from stdin, for each rank of the table, and connects to `port`, a value of
// PMI_PORT. Divides the ranks between `processes`. Returns the exit code.
int swarm(const std::string& port, std::uint32_t processes);

}  // namespace wireup::bench
