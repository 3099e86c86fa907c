#include "os/bound_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "os/error.h"
#include "os/file_place.h"

namespace wireup::os {

BoundFile::BoundFile(const std::string& path) {
  std::error_code error;
  std::string absolute = std::filesystem::absolute(path, error).string();
  if (error) throw OsError(error.value(), "getcwd", path);
  struct stat status;
  if (::lstat(absolute.c_str(), &status) < 0) throw OsError::last("lstat", path);
  path_ = std::move(absolute);
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

BoundFile::BoundFile(BoundFile&& other) noexcept { *this = std::move(other); }

BoundFile& BoundFile::operator=(BoundFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

BoundFile::~BoundFile() {
  if (!path_.empty() && is_at(device_, inode_, AT_FDCWD, path_)) ::unlink(path_.c_str());
}

}  // namespace wireup::os
