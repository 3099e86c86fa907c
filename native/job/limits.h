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
using wire::kMaxValue;

// What one connection may have asked without an answer: group barriers, attributes that it waits for, spawns.
inline constexpr std::size_t kMaxDeferred = 64;

}  // namespace wireup::job
