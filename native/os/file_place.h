// Small helpers for files and folders that another process may move, replace or link while we use them.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "os/fd.h"

namespace wireup::os {

// The number of links that the kernel follows in one path (path_resolution(7)).
inline constexpr int kMaxLinks = 40;

// Opens the folder `path`, which is relative to the open folder `parent` (AT_FDCWD: to the working directory)
// and must not be a link. Returns an empty fd, and errno, if that fails.
inline UniqueFd open_folder(int parent, const std::string& path) {
  return UniqueFd(::openat(parent, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Whether `path`, which is relative to `parent` as above, still names this file and not a link to it.
inline bool is_at(dev_t device, ino_t inode, int parent, const std::string& path) {
  struct stat there;
  return ::fstatat(parent, path.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == device &&
         there.st_ino == inode;
}

}  // namespace wireup::os
