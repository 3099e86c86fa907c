// The echo floor: the least that a PMI server of one thread can do. A plain epoll loop, one recv a request,
// an answer that is ready beforehand and as long as ours. It checks nobody, keeps nothing, and believes that
// a request comes whole.
#pragma once

#include <cstdint>

namespace wireup::bench {

enum class Transport { fd, tcp, unix_socket };

// Serves `size` ranks until all have hung up. With a command it starts that for each; without, it prints
// where it listens, and a rank's PMI_ID is its number. Returns the exit code.
int echo(Transport transport, std::uint32_t size, char** command);

}  // namespace wireup::bench
