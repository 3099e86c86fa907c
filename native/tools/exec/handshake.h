// The part of the PMI-1 handshake that a program with PMI_FD does not make: initack. It proves the rank by
// PMI_ID, and the server replies with rank and size.
#pragma once

#include <cstdint>
#include <string>

#include "tools/client/connection.h"
#include "tools/client/deadline.h"

namespace wireup::exec {

struct Identity {
  std::uint32_t rank;
  std::uint32_t size;
};

// Receives exactly the reply to initack. Everything after it is for the program. Throws Failure, whose text
// never contains `pmi_id`.
Identity handshake(const client::Connection& connection, const std::string& pmi_id,
                   const client::Deadline& deadline);

}  // namespace wireup::exec
