#include "runtime/server_identity.h"

#include <sys/socket.h>
#include <unistd.h>

#include "os/peer.h"
#include "os/tcp_peer.h"

namespace wireup::runtime {
namespace {

constexpr uid_t kRoot = 0;

std::string judge(uid_t uid) {
  if (uid == ::geteuid() || uid == kRoot) return {};
  return "it is served by uid " + std::to_string(uid) + ", not by us (uid " + std::to_string(::geteuid()) +
         ") or root";
}

}  // namespace

std::string why_not_trusted(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX) {
    const auto peer = os::unix_peer(socket);
    return peer ? judge(peer->uid) : "the kernel does not tell who serves it";
  }
  os::TcpPeerError fault = os::TcpPeerError::none;
  const auto server = os::tcp_server(socket, fault);
  if (server) return judge(server->uid);
  if (fault == os::TcpPeerError::other_machine) return {};
  return "it cannot be told who serves it: " + std::string(os::describe(fault));
}

}  // namespace wireup::runtime
