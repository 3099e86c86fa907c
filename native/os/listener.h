// A listening socket on the reactor, TCP or unix.
//
// A unix path gets its mode before it can be connected to (fchmod before bind) and is unlinked when the
// listener goes, if it is still the file that was made. A file that a killed server of ours has left there is
// taken over; any other that exists is EADDRINUSE. Survives EMFILE: it
// stops accepting for a moment instead of spinning, and those who connect wait in the backlog. An IPv6
// address takes IPv6 only, but `::` takes IPv4 too. Threads: the reactor's.
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
  // Called once a connection with a non-blocking CLOEXEC socket. May destroy the listener.
  using OnAccept = std::function<void(UniqueFd socket)>;

  // Only the owner may connect; a umask can take more away. (From any other mode it takes nothing.)
  static constexpr mode_t kPrivate = S_IRUSR | S_IWUSR;

  // Binds and listens (backlog: the kernel's somaxconn). `mode` is that of a unix path. Throws OsError
  // (EADDRINUSE, EACCES, ...).
  Listener(Reactor& reactor, const SocketAddress& address, OnAccept on_accept, mode_t mode = kPrivate);
  ~Listener() override;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // While it is held it accepts nothing: those who connect wait in the backlog.
  void hold(bool on);

  // Where it really listens: the port that the kernel chose for port 0.
  const SocketAddress& address() const { return address_; }

 private:
  void on_ready(std::uint32_t events) override;
  void pause();
  void watch();
  void bind_path(const SocketAddress& address);

  Reactor& reactor_;
  OnAccept on_accept_;
  UniqueFd socket_;
  BoundFile file_;  // goes before the socket, which keeps the number of its inode from being given again
  SocketAddress address_;
  Lifetime lifetime_;
  Reactor::TimerId resume_ = 0;
  bool held_ = false;
};

}  // namespace wireup::os
