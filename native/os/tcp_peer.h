// Whose process is at the other end of a TCP connection on this machine: the kernel's own answer (sock_diag),
// not the peer's.
//
// It is the uid of who made the peer's socket (a forwarder reads as itself), as our user namespace sees it:
// 65534 for a uid that is not mapped there. No privilege is needed. Only a row for exactly our connection,
// seen from its other end, counts, and only one that a process still holds: a peer that has sent its bytes
// and closed reads as uid 0 while its bytes can still be read. Our own socket must still be connected after
// the look-up: otherwise the row may be of a later connection.
//
// Usable from either end: tcp_peer() by who accepted, tcp_server() by who connected. Any thread; a look-up
// does not wait for anybody.
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

// Why there is no answer.
enum class TcpPeerError : std::uint8_t {
  none,
  not_tcp,        // no connected TCP socket, or it has been disconnected meanwhile
  other_machine,  // the peer's address is none of this machine's: nobody here can know
  no_sock_diag,   // the kernel does not let us ask
  no_row,         // the kernel knows no such connection (another network namespace, or it has ended)
  closed,         // no process holds the peer's socket (any more)
};

// For people: "the kernel does not let us look up TCP peers (sock_diag)".
std::string_view describe(TcpPeerError fault);

// The look-up with its netlink socket kept open, so that who accepts many connections can still tell who
// comes when no file can be opened any more.
class TcpPeers {
 public:
  // Never throws: without sock_diag every look-up says so.
  TcpPeers();

  // Of who accepted `fd`. Empty: `fault` says why.
  std::optional<TcpPeer> peer(int fd, TcpPeerError& fault);

  // Of who connected `fd`: the server may not have accepted us yet; then it is the uid of the listener in
  // whose queue we wait. Empty: `fault` says why.
  std::optional<TcpPeer> server(int fd, TcpPeerError& fault);

 private:
  UniqueFd netlink_;
  std::uint32_t sequence_ = 0;
};

// The same for a single look-up.
std::optional<TcpPeer> tcp_peer(int fd, TcpPeerError& fault);
std::optional<TcpPeer> tcp_peer(int fd);
std::optional<TcpPeer> tcp_server(int fd, TcpPeerError& fault);

}  // namespace wireup::os
