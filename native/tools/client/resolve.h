// Looks up a host name before a deadline.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/socket_address.h"
#include "tools/client/deadline.h"

namespace wireup::client {

// Never empty. Throws os::OsError: the resolver's error, or ETIMEDOUT. The resolver cannot be interrupted. If
// it is late, it continues in a thread of its own, which does not use the caller's data.
std::vector<os::SocketAddress> resolve(const std::string& host, std::uint16_t port, const Deadline& deadline);

}  // namespace wireup::client
