// The look-up of a host name under a deadline.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/socket_address.h"
#include "tools/client/deadline.h"

namespace wireup::client {

// Never empty. Throws os::OsError: what the resolver said, or ETIMEDOUT. The resolver cannot be interrupted:
// one that is late goes on in a thread of its own, which touches nothing of the caller's.
std::vector<os::SocketAddress> resolve(const std::string& host, std::uint16_t port, const Deadline& deadline);

}  // namespace wireup::client
