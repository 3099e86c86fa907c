// The addresses of this host's network interfaces. Threads: any.
#pragma once

#include <string>
#include <vector>

namespace wireup::os {

struct InterfaceAddress {
  std::string name;     // of the interface
  std::string address;  // IPv4 or IPv6 in digits, without brackets
  bool is_loopback = false;
};

// Those of interfaces that are up, in the kernel's order. Link-local IPv6 addresses are left out, because
// they mean nothing without the interface of the other host. Throws OsError.
std::vector<InterfaceAddress> interface_addresses();

}  // namespace wireup::os
