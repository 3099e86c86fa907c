// The file of a bound unix socket: removed at the end, but only while it is still the one that we made.
#pragma once

#include <sys/types.h>

#include <string>

namespace wireup::os {

class BoundFile {
 public:
  BoundFile() = default;
  // To be made right after bind(). Throws OsError.
  explicit BoundFile(const std::string& path);
  BoundFile(BoundFile&& other) noexcept;
  BoundFile& operator=(BoundFile&& other) noexcept;
  BoundFile(const BoundFile&) = delete;
  BoundFile& operator=(const BoundFile&) = delete;
  ~BoundFile();

 private:
  std::string path_;  // absolute: the owner may change its directory; empty for none
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace wireup::os
