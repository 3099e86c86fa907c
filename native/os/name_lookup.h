// Looks up host names as all programs of the host do (hosts file, DNS, LDAP), before a deadline. Threads:
// any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "os/socket_address.h"

namespace wireup::os {

// The result for one name. Without addresses it has an error: the resolver's, or ETIMEDOUT.
struct NameLookup {
  std::vector<SocketAddress> addresses;
  int error = 0;
  std::string subject;  // of an OsError: the name and the reason
};

using Resolve = std::vector<SocketAddress> (*)(const std::string& host, std::uint16_t port);

// Returns a result for each name, in order. At most 8 look-ups run at a time. The resolver cannot be
// interrupted: a late look-up goes on in a thread of its own, which does not use the caller's data. Throws
// std::system_error if no thread can be started.
std::vector<NameLookup> look_up_names(const std::vector<std::string>& names, std::uint16_t port,
                                      std::chrono::steady_clock::time_point deadline,
                                      Resolve resolve = SocketAddress::resolve);

// Whether each name belongs to this host: all its addresses are loopback addresses or those of an interface.
// A name without addresses, or one that is not resolved before the deadline, does not. Throws OsError,
// std::system_error.
std::vector<bool> find_own_names(const std::vector<std::string>& names,
                                 std::chrono::steady_clock::time_point deadline,
                                 Resolve resolve = SocketAddress::resolve);

}  // namespace wireup::os
