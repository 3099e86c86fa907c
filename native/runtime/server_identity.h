// Who serves the address that a client has connected to. Anybody may take a path, a port or an abstract name
// that its owner has left, and whoever learns a PMI_ID can be that rank: so the kernel is asked before it is
// said.
#pragma once

#include <string>

namespace wireup::runtime {

// Why PMI_ID must not be said on this connected socket; empty when it may be: a unix or TCP socket of our own
// user or of root, or a TCP server on another machine, of whom nobody here can know.
std::string why_not_trusted(int socket);

}  // namespace wireup::runtime
