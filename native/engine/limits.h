// Limits of the protocol, under the names that job/ and its hosts use. All sizes in bytes, terminator
// included.
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

// Published names of all jobs that share them, each with a name and a port of up to kMaxValue: 32 MiB at
// most.
inline constexpr std::size_t kMaxNames = 16'384;

// Wrong requests of one connection: lines that cannot be read, commands out of turn, keys that nobody may
// put. A client that tries what a server can do is wrong a few times; one that is wrong for the 10,000th time
// repeats a mistake in a loop.
inline constexpr std::uint32_t kMaxWrongs = 10'000;

// What one connection may have asked without an answer: group barriers, attributes that it waits for, spawns,
// names.
inline constexpr std::size_t kMaxDeferred = 64;

}  // namespace wireup::engine
