// On which of its addresses a host listens for its children in a tree over ZeroMQ.
#pragma once

#include <string>
#include <vector>

#include "os/interfaces.h"

namespace wireup::runtime {

// `iface`: the name of an interface ("ib0"), an address, or a network ("10.0.0.0/8", wire/host_range.h).
// Empty: all addresses but those of the loopback interface, or these if the host has no other. At most
// wire::boot::kMaxEndpoints, IPv6 addresses in brackets. Empty: the host has none of `iface`.
std::vector<std::string> choose_addresses(const std::vector<os::InterfaceAddress>& all,
                                          const std::string& iface);

// The same for this host. Throws std::runtime_error, for people, if it has none, and OsError.
std::vector<std::string> listen_addresses(const std::string& iface);

}  // namespace wireup::runtime
