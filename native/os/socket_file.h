// The path of a unix socket: taken by one server at a time, also when the last one was killed and left its
// file.
//
// Who wants to bind holds a PathLock from before bind() until after listen(). The kernel refuses connections
// to a file whose socket has not called listen() yet as it does to one that nobody has open any more, so only
// the lock tells a server that is being started from one that is dead. Any thread.
#pragma once

#include <sys/stat.h>

#include <string>

#include "os/fd.h"

namespace wireup::os {

// flock on `path`.lock, a file that exists only meanwhile; one that a killed holder has left is used again.
class PathLock {
 public:
  // Waits a second at most for another starter (which needs microseconds): OsError(EADDRINUSE) after that.
  // Throws OsError; EPERM when the lock's file is not ours.
  explicit PathLock(const std::string& path);
  ~PathLock();
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  std::string file_;
  UniqueFd fd_;
};

// Under the lock: whether a socket stands at `path` that is ours and that nobody listens on. A connection is
// tried, so a living server sees one that ends without a word.
bool is_dead_socket(const std::string& path);

// Gives the socket at `path` this mode, whatever the umask: of the socket that stands there only, never of
// what somebody has put in its place. Throws OsError.
void set_socket_mode(const std::string& path, mode_t mode);

}  // namespace wireup::os
