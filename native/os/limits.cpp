#include "os/limits.h"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "os/error.h"

namespace wireup::os {

FdLimit fd_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) throw OsError::last("getrlimit");
  return {limit.rlim_cur, limit.rlim_max};
}

std::size_t open_fds() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (folder == nullptr) throw OsError::last("opendir", "/proc/self/fd");
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count - 1;  // the folder's own
}

FdLimit make_room_for_fds(std::size_t more) {
  FdLimit limit = fd_limit();
  const std::uint64_t needed = open_fds() + more;
  if (limit.soft >= needed || limit.soft >= limit.hard) return limit;
  const rlimit raised{std::min(needed, limit.hard), limit.hard};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.soft = raised.rlim_cur;
  return limit;
}

}  // namespace wireup::os
