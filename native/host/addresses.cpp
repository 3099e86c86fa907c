#include "host/addresses.h"

#include "os/error.h"

namespace wireup::host {

os::SocketAddress to_socket_address(const wire::Address& address) {
  if (const auto* tcp = std::get_if<wire::TcpAddress>(&address)) {
    if (auto numeric = os::SocketAddress::numeric(tcp->host, tcp->port)) return *numeric;
    throw os::OsError(EINVAL, "inet_pton", tcp->host);
  }
  const auto& local = std::get<wire::UnixAddress>(address);
  return local.abstract ? os::SocketAddress::unix_abstract(local.path) : os::SocketAddress::unix_path(local.path);
}

wire::Address to_wire_address(const os::SocketAddress& address) {
  if (address.family() != AF_UNIX) return wire::TcpAddress{address.host(), address.port()};
  const std::string text = address.text();
  if (text.starts_with('@')) return wire::UnixAddress{text.substr(1), true};
  return wire::UnixAddress{text, false};
}

}  // namespace wireup::host
