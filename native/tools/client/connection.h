// The way to the PMI server: from the text of PMI_PORT to a connected, blocking socket whose other end is
// known to be ours, as far as the kernel tells.
#pragma once

#include <string>

#include "os/fd.h"
#include "tools/client/deadline.h"

namespace wireup::client {

struct Connection {
  os::UniqueFd socket;
  std::string address;  // for people
};

// Throws Failure. Nothing has been sent when it returns.
Connection connect_to_server(const std::string& pmi_port, const Deadline& deadline);

}  // namespace wireup::client
