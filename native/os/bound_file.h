// The file of a bound unix socket. The destructor removes it, unless another file has taken its place.
#pragma once

#include <sys/types.h>

#include <string>

namespace wireup::os {

class BoundFile {
 public:
  BoundFile() = default;
  // Call it right after bind(2). Throws OsError.
  explicit BoundFile(const std::string& path);
  BoundFile(BoundFile&& other) noexcept;
  BoundFile& operator=(BoundFile&& other) noexcept;
  BoundFile(const BoundFile&) = delete;
  BoundFile& operator=(const BoundFile&) = delete;
  ~BoundFile();

 private:
  std::string path_;  // absolute, because the process may change its directory; empty: no file
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace wireup::os
