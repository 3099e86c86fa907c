// Converts addresses of PMI_PORT's grammar to the kernel's, and back, for every transport (transport.h).
#pragma once

#include <string>

#include "os/socket_address.h"
#include "wire/address.h"

namespace wireup::runtime {

// Throws os::OsError: ENAMETOOLONG for a path, EINVAL for a TCP host that is not an address in digits.
os::SocketAddress to_socket_address(const wire::Address& address);

wire::Address to_wire_address(const os::SocketAddress& address);

// What ranks get as PMI_PORT. If the server listens on all addresses of the machine (0.0.0.0, [::]), ranks
// get 127.0.0.1, or this host's name if ranks on other machines may join.
std::string pmi_port_for_ranks(const wire::Address& address, bool on_other_machines);

}  // namespace wireup::runtime
