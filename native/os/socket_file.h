// Lets one server at a time use the path of a unix socket, even if a killed server has left its file there.
//
// A server holds a PathLock from before bind(2) until after listen(2). The kernel refuses connections to a
// socket that has not called listen() yet, and to a socket file that no process has open. Only the lock
// distinguishes a server that is starting from a dead one. Threads: any.
#pragma once

#include <sys/stat.h>

#include <string>

#include "os/fd.h"

namespace wireup::os {

// flock(2) on `path`.lock. The destructor removes that file. A file that a killed holder has left is reused.
class PathLock {
 public:
  // Waits at most one second for another starting server, which holds the lock for microseconds. Throws
  // OsError: EADDRINUSE after that time, EPERM if the lock file belongs to another user.
  explicit PathLock(const std::string& path);
  ~PathLock();
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  std::string file_;
  UniqueFd fd_;
};

// Whether `path` is a socket of this user on which no server listens. The caller holds the PathLock. It tries
// to connect, so a living server accepts a connection that closes without data.
bool is_dead_socket(const std::string& path);

// Sets the mode of the socket at `path`, regardless of the umask. Throws OsError; EPERM if `path` is not a
// socket of this user, such as a file that another process has put there.
void set_socket_mode(const std::string& path, mode_t mode);

}  // namespace wireup::os
