// Which user owns the other end of a TCP connection on this machine. The kernel reports it (sock_diag(7)),
// not the peer. It needs no privilege.
//
// The result is the uid that created the peer's socket; for a forwarder it is the forwarder's. A uid that is
// not mapped in this user namespace reads as 65534. A look-up succeeds only under three conditions:
// - The kernel's row has exactly the addresses and ports of this connection, seen from the other end.
// - A process still holds the peer's socket. (After a close the kernel reports uid 0, although the peer's
// bytes can still be read.)
// - This process's socket is still connected after the look-up. (Otherwise the row may be of a later
// connection.)
//
// tcp_peer() is for the process that accepted the connection, tcp_server() for the one that connected.
// Threads: any. A look-up does not wait for another process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "os/fd.h"

namespace wireup::os {

struct TcpPeer {
  uid_t uid;
};

// Why a look-up failed.
enum class TcpPeerError : std::uint8_t {
  none,
  not_tcp,        // not a connected TCP socket, or disconnected during the look-up
  other_machine,  // the peer's address does not belong to this machine
  no_sock_diag,   // the kernel refuses the query
  no_row,         // no such connection here (other network namespace, or ended)
  closed,         // no process holds the peer's socket
};

// A text for people, such as "the TCP connection has ended".
std::string_view describe(TcpPeerError fault);

// Look-ups that share one open netlink socket. So a server can still look up peers when it cannot open
// another file.
class TcpPeers {
 public:
  // Never throws. Without sock_diag every look-up fails with no_sock_diag.
  TcpPeers();

  // For a connection that this process accepted. Empty, with `fault` set, if it fails.
  std::optional<TcpPeer> peer(int fd, TcpPeerError& fault);

  // For a connection that this process made. If the server has not accepted it yet, the result is the uid of
  // the listener that has it in its queue. Empty, with `fault` set, if it fails.
  std::optional<TcpPeer> server(int fd, TcpPeerError& fault);

 private:
  UniqueFd netlink_;
  std::uint32_t sequence_ = 0;
};

// A single look-up with a netlink socket of its own.
std::optional<TcpPeer> tcp_peer(int fd, TcpPeerError& fault);
std::optional<TcpPeer> tcp_peer(int fd);
std::optional<TcpPeer> tcp_server(int fd, TcpPeerError& fault);

}  // namespace wireup::os
