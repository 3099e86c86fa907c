#include "os/socket_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "os/error.h"
#include "os/file_place.h"
#include "os/socket_address.h"

namespace wireup::os {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTimeout = std::chrono::seconds(1);
constexpr int kRetryMs = 2;

}  // namespace

PathLock::PathLock(const std::string& path) : file_(path + ".lock") {
  const auto deadline = Clock::now() + kTimeout;
  for (;;) {
    UniqueFd fd(
        ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, S_IRUSR | S_IWUSR));
    // The socket is made in the same folder, so bind(2) would fail with the same error.
    if (!fd) throw OsError::last("bind", path);
    struct stat status;
    if (::fstat(fd.get(), &status) < 0) throw OsError::last("fstat", file_);
    if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) throw OsError(EPERM, "open", file_);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      // The previous holder unlinks its file before it releases the lock. A lock on that file holds nothing.
      if (!is_at(status.st_dev, status.st_ino, AT_FDCWD, file_)) continue;
      fd_ = std::move(fd);
      return;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) throw OsError::last("flock", file_);
    if (Clock::now() > deadline) throw OsError(EADDRINUSE, "bind", path);
    ::poll(nullptr, 0, kRetryMs);
  }
}

PathLock::~PathLock() { ::unlink(file_.c_str()); }

bool is_dead_socket(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) < 0) return false;
  if (!S_ISSOCK(status.st_mode) || status.st_uid != ::geteuid()) return false;
  try {
    connect_start(SocketAddress::unix_path(path));
  } catch (const OsError& error) {
    return error.code().value() == ECONNREFUSED;
  }
  return false;
}

void set_socket_mode(const std::string& path, mode_t mode) {
  const UniqueFd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!file) throw OsError::last("open", path);
  struct stat status;
  if (::fstat(file.get(), &status) < 0) throw OsError::last("fstat", path);
  if (!S_ISSOCK(status.st_mode) || status.st_uid != ::geteuid()) throw OsError(EPERM, "chmod", path);
  // fchmod(2) does not take an O_PATH fd, and chmod(2) of `path` would look up the name again.
  const std::string opened = "/proc/self/fd/" + std::to_string(file.get());
  if (::chmod(opened.c_str(), mode) < 0) throw OsError::last("chmod", path);
}

}  // namespace wireup::os
