#include "runtime/server_identity.h"

#include <sys/socket.h>

#include "runtime/transport.h"

namespace wireup::runtime {

std::string why_not_trusted(int socket) {
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  const TransportDescriptor* transport = descriptor_of_family(family);
  return transport == nullptr ? "it is not a socket of a known transport"
                              : transport->why_not_trusted(socket);
}

}  // namespace wireup::runtime
