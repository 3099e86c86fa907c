// Time limits that hold for any peer.
#pragma once

#include <chrono>

namespace wireup::runtime {

// For the last bytes to a peer that does not read them: a reply that closes the connection, an abort, a
// finalize.
inline constexpr std::chrono::seconds kFlushTimeout{5};

// The delay before another connect to a unix listener whose backlog is full. The kernel refuses such a
// connect at once (EAGAIN); a TCP connect would wait.
inline constexpr std::chrono::milliseconds kBacklogRetry{10};

}  // namespace wireup::runtime
