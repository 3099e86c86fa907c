#include "os/limits.h"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>

#include "os/error.h"

namespace wireup::os {
namespace {

// Empty, with errno set, if /proc/self/fd cannot be read.
std::optional<std::size_t> count_open_fds() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (folder == nullptr) return std::nullopt;
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count - 1;  // without the folder's own fd
}

// The soft limit before make_room_for_fds() raised it; 0: it has not raised it.
std::atomic<std::uint64_t> unraised{0};

}  // namespace

FdLimit fd_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) throw OsError::last("getrlimit");
  return {limit.rlim_cur, limit.rlim_max};
}

std::uint64_t unraised_soft_limit() {
  const std::uint64_t known = unraised;
  return known != 0 ? known : fd_limit().soft;
}

std::size_t open_fds() {
  const std::optional<std::size_t> count = count_open_fds();
  if (!count) throw OsError::last("opendir", "/proc/self/fd");
  return *count;
}

FdLimit make_room_for_fds(std::size_t more) {
  FdLimit limit = fd_limit();
  // Counting fails if no fd is free or /proc is missing. Then all numbers may be in use.
  const std::uint64_t needed = count_open_fds().value_or(limit.soft) + more;
  if (limit.soft >= needed || limit.soft >= limit.hard) return limit;
  const rlimit raised{std::min(needed, limit.hard), limit.hard};
  std::uint64_t none = 0;
  unraised.compare_exchange_strong(none, limit.soft);
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.soft = raised.rlim_cur;
  return limit;
}

}  // namespace wireup::os
