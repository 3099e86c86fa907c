// The part of the PMI-1 handshake that a program with PMI_FD does not make: initack. It proves the rank by
// PMI_ID, and the server replies with rank and size.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tools/client/connection.h"
#include "tools/client/deadline.h"
#include "wire/message_splitter.h"

namespace wireup::exec {

struct Identity {
  std::uint32_t rank;
  std::uint32_t size;
};

// Sees the bytes of the handshake, which contain `pmi_id`.
using HandshakeObserver = std::function<void(wire::Side, std::string_view)>;

// Receives exactly the reply to initack. Everything after it is for the program. Throws Failure, whose text
// never contains `pmi_id`.
Identity handshake(const client::Connection& connection, const std::string& pmi_id,
                   const client::Deadline& deadline, const HandshakeObserver& observer = {});

}  // namespace wireup::exec
