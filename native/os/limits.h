// The limit on open files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wireup::os {

struct FdLimit {
  std::uint64_t soft;
  std::uint64_t hard;
};

FdLimit fd_limit();
// The soft limit as it was before make_room_for_fds() first raised it: what a child is to have.
std::uint64_t unraised_soft_limit();
// How many fds are open now (/proc/self/fd).
std::size_t open_fds();
// Makes room for `more` fds beside those that are open, raising the soft limit when that is needed and the
// hard one allows it. Where the open ones cannot be counted, the limit is raised as if all numbers below it
// were taken. Returns the limit after that, which the caller compares with what it needs.
FdLimit make_room_for_fds(std::size_t more);

}  // namespace wireup::os
