// Checks the user of the server that a client has connected to. Any process may take a path, a port or an
// abstract name that its owner has left, and a process that learns a PMI_ID can be that rank. So clients ask
// the kernel before they send PMI_ID.
#pragma once

#include <string>

namespace wireup::runtime {

// Why a client must not send PMI_ID on this connected socket; empty if it may: the server belongs to the
// client's user or to root, or is on another machine, whose processes this kernel does not know.
std::string why_not_trusted(int socket);

}  // namespace wireup::runtime
