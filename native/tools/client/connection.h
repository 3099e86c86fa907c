// Connects to the PMI server that PMI_PORT names, by a blocking socket. Checks that the server belongs to
// this user, if the kernel reports the server's uid.
#pragma once

#include <string>

#include "os/fd.h"
#include "tools/client/deadline.h"

namespace wireup::client {

struct Connection {
  os::UniqueFd socket;
  std::string address;  // for people
};

// Sends nothing. Throws Failure.
Connection connect_to_server(const std::string& pmi_port, const Deadline& deadline);

}  // namespace wireup::client
