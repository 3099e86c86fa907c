#include "os/private_directory.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "os/error.h"
#include "os/socket_file.h"

namespace wireup::os {

namespace {

constexpr const char* kPrefix = "wireup-";
constexpr const char* kSocket = "/pmi";

void remove_dead_ones(const std::string& parent) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with(kPrefix)) remove_dead_directory(entry->path().string());
  }
}

}  // namespace

// Only a folder of ours with a dead socket: one without any may just have been made by another starter.
void remove_dead_directory(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) < 0 || !S_ISDIR(status.st_mode)) return;
  const std::string socket = path + kSocket;
  if (status.st_uid != ::geteuid() || ::lstat(socket.c_str(), &status) < 0) return;
  try {
    const PathLock lock(socket);
    if (!is_dead_socket(socket)) return;
    ::unlink(socket.c_str());
  } catch (const OsError&) {
    return;  // not ours to clean, or in use
  }
  ::rmdir(path.c_str());
}

PrivateDirectory::PrivateDirectory(const std::string& parent, bool passable)
    : path_(parent + "/" + kPrefix + "XXXXXX") {
  remove_dead_ones(parent);
  if (mkdtemp(path_.data()) == nullptr) throw OsError::last("mkdtemp", path_);
  constexpr mode_t kPassable = S_IRWXU | S_IXGRP | S_IXOTH;
  if (passable && ::chmod(path_.c_str(), kPassable) < 0) throw OsError::last("chmod", path_);
}

PrivateDirectory::~PrivateDirectory() { rmdir(path_.c_str()); }

std::string PrivateDirectory::socket() const { return path_ + kSocket; }

}  // namespace wireup::os
