// Socket addresses, the blocking look-up of host names, and connecting. Threads: any.
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
  // `host` is an IPv4 or IPv6 address in digits, without an IPv6 scope ("%eth0"). Empty if it is a name.
  static std::optional<SocketAddress> numeric(const std::string& host, std::uint16_t port);
  // Blocks in getaddrinfo(3). Throws OsError; its subject is the host and the resolver's message, and its
  // error is ENXIO if the resolver returns no errno.
  static std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port);
  // Throws OsError: ENAMETOOLONG for more than 107 bytes, EINVAL for an empty path or one with a NUL.
  static SocketAddress unix_path(const std::string& path);
  // `name` is without the '@'. Throws OsError: ENAMETOOLONG for more than 107 bytes, EINVAL if it is empty.
  static SocketAddress unix_abstract(const std::string& name);
  static SocketAddress of_local(int fd);  // getsockname(2); throws OsError
  static SocketAddress of_peer(int fd);   // getpeername(2); throws OsError

  int family() const { return storage_.ss_family; }
  bool is_unix_path() const;
  std::uint16_t port() const;  // 0 for unix
  std::string text() const;    // "127.0.0.1:80", "[::1]:80", "/path", "@name"; "unix" if unnamed
  std::string host() const;    // in digits, without brackets; empty for unix
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }

 private:
  std::string unix_name() const;  // the used part of sun_path

  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// Connects a blocking socket, and waits at most `timeout_ms`. For programs without a reactor. Throws OsError
// (ETIMEDOUT, ECONNREFUSED, ...).
UniqueFd connect_blocking(const SocketAddress& address, int timeout_ms);

// Starts to connect a non-blocking socket. It becomes writable when the connection is made or has failed, and
// SO_ERROR then holds the result. Throws OsError (EAGAIN: the backlog of a unix listener is full; try again
// later).
UniqueFd connect_start(const SocketAddress& address);

}  // namespace wireup::os
