// Kernel socket addresses and the blocking look-up of names.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/fd.h"

namespace wireup::os {

class SocketAddress {
 public:
  // An IPv4 or IPv6 address in digits; empty when `host` is a name. No IPv6 scope ("%eth0").
  static std::optional<SocketAddress> numeric(const std::string& host, std::uint16_t port);
  // Blocks (getaddrinfo). Throws OsError with the host and what the resolver said as its subject; its error
  // is ENXIO where the resolver gave no errno.
  static std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port);
  // Throws OsError(ENAMETOOLONG) when the path does not fit, EINVAL when it is empty or holds a NUL.
  static SocketAddress unix_path(const std::string& path);
  // Without the '@'. Throws OsError(ENAMETOOLONG), EINVAL when it is empty.
  static SocketAddress unix_abstract(const std::string& name);
  static SocketAddress of_local(int fd);  // getsockname
  static SocketAddress of_peer(int fd);   // getpeername

  int family() const { return storage_.ss_family; }
  bool is_unix_path() const;
  std::uint16_t port() const;  // 0 for unix
  std::string text() const;    // "127.0.0.1:80", "[::1]:80", "/path", "@name", "unix" for an unnamed one
  std::string host() const;    // the address in digits, no brackets; empty for unix
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }

 private:
  std::string unix_name() const;  // sun_path as far as it is meant

  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// A blocking connect with a deadline, for programs without a reactor; the socket is blocking. Throws OsError
// (ETIMEDOUT, ECONNREFUSED, ...).
UniqueFd connect_blocking(const SocketAddress& address, int timeout_ms);

// A non-blocking connect: the socket turns writable when it is done; SO_ERROR says how. Throws OsError
// (EAGAIN: the backlog of a unix listener is full, try again later).
UniqueFd connect_start(const SocketAddress& address);

}  // namespace wireup::os
