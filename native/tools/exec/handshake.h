// The part of the PMI-1 handshake that a program with PMI_FD never sees: initack, which proves our rank by
// PMI_ID and tells rank and size.
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

// Leaves nothing of the server's in our hands: what follows on the socket is the program's. Throws Failure,
// which never holds `pmi_id`.
Identity handshake(const client::Connection& connection, const std::string& pmi_id,
                   const client::Deadline& deadline);

}  // namespace wireup::exec
