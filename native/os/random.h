// Random bytes for secrets and names.
#pragma once

#include <cstddef>
#include <span>

namespace wireup::os {

// Fills `bytes` from getrandom(2). Throws OsError.
void fill_random(std::span<std::byte> bytes);

}  // namespace wireup::os
