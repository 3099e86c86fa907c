// Limits of the protocol, under the names that job/ and its hosts use. All sizes in bytes, terminator
// included.
#pragma once

#include <cstddef>

#include "wire/limits.h"

namespace wireup::job {

using wire::kMaxBlock;
using wire::kMaxFrame;
using wire::kMaxKey;
using wire::kMaxKvsname;
using wire::kMaxLine;
using wire::kMaxProcessMapping;
using wire::kMaxValue;

// Published names of all jobs that share them, each with a name and a port of up to kMaxValue: 32 MiB at most.
inline constexpr std::size_t kMaxNames = 16'384;

// What one connection may have asked without an answer: group barriers, attributes that it waits for, spawns, names.
inline constexpr std::size_t kMaxDeferred = 64;

}  // namespace wireup::job
