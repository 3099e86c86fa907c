// Limits of the engine, and the limits of the wire under the engine's namespace. All sizes are in bytes.
// Sizes of texts include a terminator.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/limits.h"

namespace wireup::engine {

using wire::kMaxBlock;
using wire::kMaxFrame;
using wire::kMaxKey;
using wire::kMaxKvsname;
using wire::kMaxLine;
using wire::kMaxProcessMapping;
using wire::kMaxValue;

// The number of published names of all process groups that share a Names. With a name and a port of kMaxValue
// each, they take 32 MiB at most.
inline constexpr std::size_t kMaxNames = 16'384;

// The number of invalid requests of one connection after which the server closes it: lines that it cannot
// parse, commands out of turn, puts of reserved keys. A client that probes what a server supports sends a few
// of them. 10,000 of them show a mistake in a loop.
inline constexpr std::uint32_t kMaxBadRequests = 10'000;

// The number of requests of one connection whose replies are deferred: group barriers, attributes that it
// waits for, spawns, names.
inline constexpr std::size_t kMaxDeferred = 64;

}  // namespace wireup::engine
