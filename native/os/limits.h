// The limit of open files of this process. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wireup::os {

struct FdLimit {
  std::uint64_t soft;
  std::uint64_t hard;
};

FdLimit fd_limit();
// The soft limit before make_room_for_fds() first raised it. Children get this one. Throws OsError.
std::uint64_t unraised_soft_limit();
// Number of open fds (/proc/self/fd). Throws OsError.
std::size_t open_fds();
// Raises the soft limit, if needed, so that `more` fds can be opened, but not above the hard limit. If the
// open fds cannot be counted, assumes that all numbers below the soft limit are in use. Returns the new
// limit; the caller checks whether it is enough.
FdLimit make_room_for_fds(std::size_t more);

}  // namespace wireup::os
