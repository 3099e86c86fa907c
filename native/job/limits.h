// Limits of the protocol, under the names that job/ and its hosts use. All sizes in bytes, terminator
// included.
#pragma once

#include "wire/limits.h"

namespace wireup::job {

using wire::kMaxBlock;
using wire::kMaxKey;
using wire::kMaxKvsname;
using wire::kMaxLine;
using wire::kMaxValue;

}  // namespace wireup::job
