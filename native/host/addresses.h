// Between the grammar's addresses and the kernel's.
#pragma once

#include "os/socket_address.h"
#include "wire/address.h"

namespace wireup::host {

// Throws os::OsError: ENAMETOOLONG for a path, EINVAL for a TCP host that is not an address in digits.
os::SocketAddress to_socket_address(const wire::Address& address);

wire::Address to_wire_address(const os::SocketAddress& address);

}  // namespace wireup::host
