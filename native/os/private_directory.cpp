#include "os/private_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "os/file_place.h"
#include "os/random.h"
#include "os/socket_file.h"
#include "os/trusted_folder.h"

namespace wireup::os {

namespace {

constexpr std::string_view kPrefix = "wireup-";
constexpr std::size_t kRandomLetters = 6;
constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kLockSuffix = ".lock";  // PathLock's
constexpr mode_t kPassable = S_IRWXU | S_IXGRP | S_IXOTH;

// A name may exist already, or another process may be making the same one.
constexpr int kAttempts = 100;

constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

std::string by_fd(int folder, std::string_view name) {
  return ("/proc/self/fd/" + std::to_string(folder) + "/").append(name);
}

// Empty if the folder cannot be read.
std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  UniqueFd listed(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listed) return names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listed.get()), ::closedir);
  if (entries == nullptr) return names;
  [[maybe_unused]] const int owned = listed.release();
  while (const dirent* entry = ::readdir(entries.get())) names.emplace_back(entry->d_name);
  return names;
}

std::string fresh_name() {
  std::array<std::byte, kRandomLetters> bytes;
  fill_random(bytes);
  std::string name(kPrefix);
  for (const std::byte byte : bytes) name += kLetters[std::to_integer<std::size_t>(byte) % kLetters.size()];
  return name;
}

bool is_name_of_ours(std::string_view name) {
  return name.size() == kPrefix.size() + kRandomLetters && name.starts_with(kPrefix) &&
         name.find_first_not_of(kLetters, kPrefix.size()) == std::string_view::npos;
}

// Removes dead sockets and their locks. Returns false if a file is left that may be in use.
bool remove_dead_sockets(int folder) {
  std::vector<std::string> locks;
  for (std::string& name : names_in(folder)) {
    if (!name.starts_with(kSocketName)) continue;
    if (name.ends_with(kLockSuffix)) {
      locks.push_back(std::move(name));
    } else if (is_dead_socket(by_fd(folder, name))) {
      ::unlinkat(folder, name.c_str(), 0);
    } else {
      return false;
    }
  }
  for (const std::string& lock : locks) ::unlinkat(folder, lock.c_str(), 0);
  return true;
}

// A living owner holds the lock from right after it made the folder. So if the lock is free, the owner is
// dead.
void remove_dead(int parent, const std::string& name) {
  const UniqueFd folder = open_folder(parent, name);
  struct stat status;
  if (!folder || ::fstat(folder.get(), &status) < 0 || status.st_uid != ::geteuid()) return;
  if ((status.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0) return;  // not made by wireup
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) < 0) return;
  if (remove_dead_sockets(folder.get())) ::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
}

void remove_dead_ones(int parent) {
  for (const std::string& name : names_in(parent)) {
    if (is_name_of_ours(name)) remove_dead(parent, name);
  }
}

}  // namespace

void remove_dead_directory(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || !is_name_of_ours(std::string_view(path).substr(slash + 1))) return;
  const TrustedFolder parent = open_trusted_folder(path.substr(0, slash + 1));
  if (parent.fd) remove_dead(parent.fd.get(), path.substr(slash + 1));
}

void remove_dead_directories(const std::string& parent) {
  const TrustedFolder folder = open_trusted_folder(parent);
  if (folder.fd) remove_dead_ones(folder.fd.get());
}

std::unique_ptr<PrivateDirectory> PrivateDirectory::make(const std::string& parent, bool passable,
                                                         std::string& fault) {
  TrustedFolder trusted = open_trusted_folder(parent);
  if (!trusted.fd) {
    fault = std::move(trusted.fault);
    return nullptr;
  }
  const std::string path = parent.substr(0, parent.find_last_not_of('/') + 1) + "/";
  const std::size_t size = path.size() + kPrefix.size() + kRandomLetters + 1 + kMaxSocketName;
  if (size > kMaxSocketPath) {
    fault = "the path of a socket in it is too long: " + std::to_string(size) + " bytes, " +
            std::to_string(kMaxSocketPath) + " at most";
    return nullptr;
  }
  remove_dead_ones(trusted.fd.get());
  const mode_t mode = passable ? kPassable : S_IRWXU;
  for (int i = 0; i < kAttempts; ++i) {
    const std::string name = fresh_name();
    if (::mkdirat(trusted.fd.get(), name.c_str(), S_IRWXU) < 0) {
      if (errno == EEXIST) continue;
      fault = std::strerror(errno);
      return nullptr;
    }
    // mkdirat() applies the umask. In a trusted folder no other user can have replaced the new folder.
    ::fchmodat(trusted.fd.get(), name.c_str(), mode, 0);
    UniqueFd folder = open_folder(trusted.fd.get(), name);
    if (!folder && errno != ENOENT) {
      fault = std::strerror(errno);
      ::unlinkat(trusted.fd.get(), name.c_str(), AT_REMOVEDIR);
      return nullptr;
    }
    // Another make() may have locked or removed it as dead before this one holds the lock. On a file system
    // without flock(2), no make() does.
    if (!folder || (::flock(folder.get(), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)) continue;
    struct stat status;
    if (::fstat(folder.get(), &status) < 0) continue;
    if (!is_at(status.st_dev, status.st_ino, trusted.fd.get(), name)) continue;
    std::unique_ptr<PrivateDirectory> made(new PrivateDirectory);
    made->parent_ = std::move(trusted.fd);
    made->folder_ = std::move(folder);
    made->name_ = name;
    made->path_ = path + name;
    return made;
  }
  fault = "no name for a folder in it is free";
  return nullptr;
}

PrivateDirectory::~PrivateDirectory() { ::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR); }

void PrivateDirectory::make_passable() { ::fchmodat(parent_.get(), name_.c_str(), kPassable, 0); }

std::string PrivateDirectory::socket(std::string_view name) const { return (path_ + "/").append(name); }

std::string PrivateDirectory::socket_by_fd(std::string_view name) const { return by_fd(folder_.get(), name); }

}  // namespace wireup::os
