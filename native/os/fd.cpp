#include "os/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "os/error.h"

namespace wireup::os {

namespace {

FdPair socket_pair(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0) throw OsError::last("socketpair");
  FdPair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
  set_nonblocking(pair.first.get(), true);
  return pair;
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) {
    const int error = errno;
    ::close(fd_);
    errno = error;
  }
  fd_ = fd;
}

FdPair stream_pair() { return socket_pair(SOCK_STREAM); }

FdPair seqpacket_pair() { return socket_pair(SOCK_SEQPACKET); }

FdPair make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) throw OsError::last("pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

UniqueFd duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw OsError::last("fcntl", std::to_string(fd));
  return copy;
}

void set_nonblocking(int fd, bool on) {
  // One system call, where fcntl(2) takes two. The kernel does this for every kind of file (ioctl_fionbio()).
  int value = on ? 1 : 0;
  if (::ioctl(fd, FIONBIO, &value) < 0) throw OsError::last("ioctl");
}

bool wait_writable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLOUT, 0};
  const int count = ::poll(&entry, 1, timeout_ms);
  if (count < 0 && errno != EINTR) throw OsError::last("poll");
  return count > 0;
}

}  // namespace wireup::os
