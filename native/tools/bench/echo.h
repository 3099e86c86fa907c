// The echo floor: the least work of a PMI server with one thread. It is a plain epoll loop with one recv(2)
// for each request and a constant reply of the same length as wireup's. It checks no peer, stores nothing,
// and assumes that each request arrives whole.
#pragma once

#include <cstdint>

namespace wireup::bench {

enum class Transport { fd, tcp, unix_socket };

// Serves `size` ranks until all have hung up. With a command, starts it for each rank. Without one, prints
// its address, and each rank's PMI_ID is its rank. Returns the exit code.
int echo(Transport transport, std::uint32_t size, char** command);

}  // namespace wireup::bench
