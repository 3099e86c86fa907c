#include "tools/agent/stdio.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "wire/printable.h"

namespace wireup::agent {
namespace {

// To open /dev/ptmx again makes a new terminal. It is character device 5:2
// (Documentation/admin-guide/devices.txt).
bool is_pty_master(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == makedev(5, 2);
}

bool ready_now(int fd, short events) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, 0) == 1;
}

}  // namespace

Stdio::Stdio(int fd, Direction direction) : original_(fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return;
  if (S_ISREG(status.st_mode)) {
    method_ = Method::direct;
  } else if (S_ISSOCK(status.st_mode)) {
    method_ = Method::socket;
  } else {
    own_ = open_again(fd, (direction == Direction::in ? O_RDONLY : O_WRONLY) | O_NONBLOCK);
    if (own_) method_ = Method::direct;
  }
}

Stdio::Stdio(os::UniqueFd own) : original_(own.get()), own_(std::move(own)), method_(Method::direct) {
  os::set_nonblocking(original_, true);
}

ssize_t Stdio::read(char* buffer, std::size_t size) const {
  switch (method_) {
    case Method::direct:
      return ::read(fd(), buffer, size);
    case Method::socket:
      return ::recv(fd(), buffer, size, MSG_DONTWAIT);
    case Method::poll_first:
      break;
  }
  if (!ready_now(fd(), POLLIN)) {
    errno = EAGAIN;
    return -1;
  }
  return ::read(fd(), buffer, size);
}

ssize_t Stdio::write(const char* bytes, std::size_t size) const {
  switch (method_) {
    case Method::direct:
      return ::write(fd(), bytes, size);
    case Method::socket:
      return ::send(fd(), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case Method::poll_first:
      break;
  }
  if (!ready_now(fd(), POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd(), bytes, std::min<std::size_t>(size, PIPE_BUF));
}

bool refuses_to_wait(int fd) {
  struct stat status {};
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0 && ::fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
}

os::UniqueFd open_again(int fd, int flags) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return {};
  if (!S_ISFIFO(status.st_mode) && (::isatty(fd) != 1 || is_pty_master(status))) return {};
  return os::UniqueFd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_NOCTTY | O_CLOEXEC));
}

bool same_stream(int a, int b) {
  struct stat first {};
  struct stat second {};
  if (::fstat(a, &first) != 0 || ::fstat(b, &second) != 0) return false;
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino && !S_ISREG(first.st_mode);
}

void print_line(std::string_view text) {
  // One write, so that a pipe takes the line as a whole.
  std::string line(wire::cut(wire::printable(text), PIPE_BUF - 1));
  line += '\n';
  // If this fails, there is no other place to report it.
  [[maybe_unused]] const ssize_t written =
      Stdio(STDERR_FILENO, Stdio::Direction::out).write(line.data(), line.size());
}

void complain(const char* format, ...) {
  std::array<char, PIPE_BUF> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  print_line(std::string("wireup-agent: ") + text.data());
}

}  // namespace wireup::agent
