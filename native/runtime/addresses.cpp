#include "runtime/addresses.h"

#include <limits.h>
#include <unistd.h>

#include "os/error.h"

namespace wireup::runtime {
namespace {

std::string own_name() {
  char name[HOST_NAME_MAX + 1]{};
  if (::gethostname(name, HOST_NAME_MAX) < 0) throw os::OsError::last("gethostname");
  return name;
}

}  // namespace

os::SocketAddress to_socket_address(const wire::Address& address) {
  if (const auto* tcp = std::get_if<wire::TcpAddress>(&address)) {
    if (auto numeric = os::SocketAddress::numeric(tcp->host, tcp->port)) return *numeric;
    throw os::OsError(EINVAL, "inet_pton", tcp->host);
  }
  const auto& local = std::get<wire::UnixAddress>(address);
  return local.abstract ? os::SocketAddress::unix_abstract(local.path)
                        : os::SocketAddress::unix_path(local.path);
}

wire::Address to_wire_address(const os::SocketAddress& address) {
  if (address.family() != AF_UNIX) return wire::TcpAddress{address.host(), address.port()};
  const std::string text = address.text();
  if (text.starts_with('@')) return wire::UnixAddress{text.substr(1), true};
  return wire::UnixAddress{text, false};
}

std::string pmi_port_for_ranks(const wire::Address& address, bool on_other_machines) {
  const auto* tcp = std::get_if<wire::TcpAddress>(&address);
  if (tcp == nullptr || (tcp->host != "0.0.0.0" && tcp->host != "::")) return wire::to_pmi_port(address);
  return wire::to_pmi_port(wire::TcpAddress{on_other_machines ? own_name() : "127.0.0.1", tcp->port});
}

}  // namespace wireup::runtime
