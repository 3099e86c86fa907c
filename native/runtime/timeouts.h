// How long a connection's other end is waited for, whoever it is.
#pragma once

#include <chrono>

namespace wireup::runtime {

// For the last bytes to one that does not read them: a reply that closes, an abort, a finalize.
inline constexpr std::chrono::seconds kFlushTimeout{5};

// A unix listener whose backlog is full refuses at once (EAGAIN) where a TCP one lets its clients wait.
inline constexpr std::chrono::milliseconds kBacklogRetry{10};

}  // namespace wireup::runtime
