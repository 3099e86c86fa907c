#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "os/error.h"
#include "os/socket_address.h"

namespace wireup::os {

namespace {

using Clock = std::chrono::steady_clock;

UniqueFd open_socket(const SocketAddress& address, int flags) {
  UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!socket) throw OsError::last("socket", address.text());
  return socket;
}

void set_send_timeout(int fd, std::chrono::milliseconds timeout) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
  const auto rest = std::chrono::microseconds(timeout - seconds);
  const timeval value{static_cast<time_t>(seconds.count()), static_cast<suseconds_t>(rest.count())};
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value) < 0) throw OsError::last("setsockopt");
}

std::chrono::milliseconds left_until(Clock::time_point deadline) {
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()),
                  std::chrono::milliseconds(0));
}

// A non-blocking connect to a unix socket fails at once if the backlog is full. A blocking one waits for the
// socket's send timeout.
UniqueFd connect_unix(const SocketAddress& address, Clock::time_point deadline) {
  UniqueFd socket = open_socket(address, 0);
  for (;;) {
    const auto left = left_until(deadline);
    // A timeout of 0 means no timeout.
    set_send_timeout(socket.get(), std::max(left, std::chrono::milliseconds(1)));
    if (::connect(socket.get(), address.raw(), address.size()) == 0) break;
    if (errno == EAGAIN) throw OsError(ETIMEDOUT, "connect", address.text());
    if (errno != EINTR) throw OsError::last("connect", address.text());
  }
  set_send_timeout(socket.get(), std::chrono::milliseconds(0));
  return socket;
}

UniqueFd connect_tcp(const SocketAddress& address, Clock::time_point deadline) {
  UniqueFd socket = connect_start(address);
  pollfd entry{socket.get(), POLLOUT, 0};
  for (;;) {
    const int count = ::poll(&entry, 1, static_cast<int>(left_until(deadline).count()));
    if (count > 0) break;
    if (count == 0) throw OsError(ETIMEDOUT, "connect", address.text());
    if (errno != EINTR) throw OsError::last("poll");
  }
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) throw OsError::last("getsockopt");
  if (error != 0) throw OsError(error, "connect", address.text());
  set_nonblocking(socket.get(), false);
  return socket;
}

}  // namespace

UniqueFd connect_blocking(const SocketAddress& address, int timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  return address.family() == AF_UNIX ? connect_unix(address, deadline) : connect_tcp(address, deadline);
}

UniqueFd connect_start(const SocketAddress& address) {
  UniqueFd socket = open_socket(address, SOCK_NONBLOCK);
  // After EINTR a non-blocking connect continues, as after EINPROGRESS.
  if (::connect(socket.get(), address.raw(), address.size()) < 0 && errno != EINPROGRESS && errno != EINTR) {
    throw OsError::last("connect", address.text());
  }
  return socket;
}

}  // namespace wireup::os
