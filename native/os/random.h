// What nobody can guess.
#pragma once

#include <cstddef>
#include <span>

namespace wireup::os {

// Fills it from the kernel's generator. Throws OsError.
void fill_random(std::span<std::byte> bytes);

}  // namespace wireup::os
