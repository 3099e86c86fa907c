#include "runtime/addresses.h"

#include <cerrno>

#include "os/error.h"
#include "runtime/transport.h"

namespace wireup::runtime {

os::SocketAddress to_socket_address(const wire::Address& address) {
  return descriptor_of(address).to_socket_address(address);
}

wire::Address to_wire_address(const os::SocketAddress& address) {
  const TransportDescriptor* transport = descriptor_of_family(address.family());
  if (transport == nullptr) throw os::OsError(EAFNOSUPPORT, "getsockname");
  return transport->to_wire_address(address);
}

std::string pmi_port_for_ranks(const wire::Address& address, bool on_other_machines) {
  return descriptor_of(address).pmi_port(address, on_other_machines);
}

}  // namespace wireup::runtime
