// A listening socket on the reactor, TCP or unix.
//
// A unix socket has its mode before a peer can connect (fchmod(2) before bind(2)). The destructor removes its
// file, unless another file has taken its place. A socket file that a killed server of this user has left is
// replaced; any other existing file is EADDRINUSE. If no fd is free (EMFILE), the listener pauses for a
// moment, and connections wait in the backlog. An IPv6 address accepts only IPv6, but `::` accepts IPv4 too.
// Threads: the reactor's.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "os/bound_file.h"
#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"
#include "os/socket_address.h"

namespace wireup::os {

class Listener final : Handler {
 public:
  // Called for each connection, with a non-blocking CLOEXEC socket. May destroy the listener.
  using OnAccept = std::function<void(UniqueFd socket)>;

  // Only the owner may connect. The umask applies to this mode, but to no other.
  static constexpr mode_t kPrivate = S_IRUSR | S_IWUSR;

  // Binds and listens, with the kernel's largest backlog (net.core.somaxconn). `mode` is for the file of a
  // unix socket. Throws OsError (EADDRINUSE, EACCES, ...).
  Listener(Reactor& reactor, const SocketAddress& address, OnAccept on_accept, mode_t mode = kPrivate);
  ~Listener() override;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // While held, it accepts no connection. Connections wait in the backlog.
  void hold(bool on);

  // The bound address, with the port that the kernel chose for port 0.
  const SocketAddress& address() const { return address_; }

 private:
  void on_ready(std::uint32_t events) override;
  void pause();
  void watch();
  void bind_path(const SocketAddress& address);

  Reactor& reactor_;
  OnAccept on_accept_;
  UniqueFd socket_;
  BoundFile file_;  // destroyed before the socket, which keeps the inode number in use
  SocketAddress address_;
  Lifetime lifetime_;
  Reactor::TimerId resume_ = 0;
  bool held_ = false;
};

}  // namespace wireup::os
