// Converts addresses of PMI_PORT's grammar to the kernel's, and back.
#pragma once

#include <string>

#include "os/socket_address.h"
#include "wire/address.h"

namespace wireup::runtime {

// Throws os::OsError: ENAMETOOLONG for a path, EINVAL for a TCP host that is not an address in digits.
os::SocketAddress to_socket_address(const wire::Address& address);

wire::Address to_wire_address(const os::SocketAddress& address);

// What ranks are handed as PMI_PORT. A server on every address (0.0.0.0, [::]) is no place to connect to: its
// ranks get 127.0.0.1, or, where ranks on other machines may join, this host's name.
std::string pmi_port_for_ranks(const wire::Address& address, bool on_other_machines);

}  // namespace wireup::runtime
