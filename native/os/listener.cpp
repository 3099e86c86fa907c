#include "os/listener.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <limits>
#include <optional>
#include <utility>

#include "os/error.h"
#include "os/socket_file.h"

namespace wireup::os {

namespace {

// So that connections get their share of the turn.
constexpr int kAcceptsPerTurn = 64;

// Short for a peer that waits in the backlog, and long enough to use little processor time.
constexpr auto kPause = std::chrono::milliseconds(50);

// The kernel limits it to net.core.somaxconn.
constexpr int kBacklog = std::numeric_limits<int>::max();

void set_option(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof value) < 0) throw OsError::last("setsockopt");
}

bool is_any_ipv6(const SocketAddress& address) {
  return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_addr);
}

// An error of one connection, or of the network. (accept(2) returns pending network errors of the new
// socket.)
bool concerns_one_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
      return true;
    default:
      return false;
  }
}

}  // namespace

Listener::Listener(Reactor& reactor, const SocketAddress& address, OnAccept on_accept, mode_t mode)
    : reactor_(reactor), on_accept_(std::move(on_accept)) {
  socket_.reset(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_) throw OsError::last("socket", address.text());
  const int fd = socket_.get();
  if (address.family() == AF_UNIX) {
    if (::fchmod(fd, mode) < 0) throw OsError::last("fchmod", address.text());
  } else {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  }
  if (address.family() == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_any_ipv6(address) ? 0 : 1);
  std::optional<PathLock> lock;
  if (address.is_unix_path()) {
    lock.emplace(address.text());
    bind_path(address);
    if (mode != kPrivate) set_socket_mode(address.text(), mode);
  } else if (::bind(fd, address.raw(), address.size()) < 0) {
    throw OsError::last("bind", address.text());
  }
  if (::listen(fd, kBacklog) < 0) throw OsError::last("listen", address.text());
  lock.reset();
  address_ = SocketAddress::of_local(fd);
  reactor_.add(fd, EPOLLIN, *this);
}

void Listener::bind_path(const SocketAddress& address) {
  const std::string path = address.text();
  if (::bind(socket_.get(), address.raw(), address.size()) < 0) {
    const int error = errno;
    if (error != EADDRINUSE || !is_dead_socket(path)) throw OsError(error, "bind", path);
    if (::unlink(path.c_str()) < 0 && errno != ENOENT) throw OsError::last("unlink", path);
    if (::bind(socket_.get(), address.raw(), address.size()) < 0) throw OsError::last("bind", path);
  }
  file_ = BoundFile(path);
}

Listener::~Listener() {
  reactor_.remove(socket_.get(), *this);
  reactor_.cancel(resume_);
}

void Listener::on_ready(std::uint32_t) {
  const Lifetime::Watch watch(lifetime_);
  const OnAccept on_accept = on_accept_;  // a copy, because it may destroy the listener
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) {
      on_accept(std::move(connection));
      if (watch.gone() || held_) return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (!concerns_one_connection(errno)) {
      pause();
      return;
    }
  }
}

// After EMFILE, ENFILE, ENOBUFS or ENOMEM the connection stays pending, so epoll_wait(2) would return at
// once.
void Listener::pause() {
  resume_ = reactor_.after(kPause, [this] {
    resume_ = 0;
    watch();
  });
  watch();
}

void Listener::hold(bool on) {
  if (std::exchange(held_, on) != on) watch();
}

void Listener::watch() {
  const std::uint32_t events = EPOLLIN;
  reactor_.modify(socket_.get(), held_ || resume_ != 0 ? 0 : events, *this);
}

}  // namespace wireup::os
