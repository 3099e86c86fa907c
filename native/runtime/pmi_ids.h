// Makes the PMI_IDs of a process group. Threads: any.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/auth.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

// One PMI_ID for each rank; no two are equal.
//
//   number        a random number below 2^31, which every MPI can send (MPICH passes PMI_ID through atoi)
//   hexadecimal   128 random bits in hexadecimal, which only wireup's own clients can send
//   rank          the rank itself
//
// Throws os::OsError if the kernel gives no random bytes.
std::vector<engine::PmiId> make_pmi_ids(std::uint32_t size, wire::agent::PmiIdKind kind);

}  // namespace wireup::runtime
