// How the transports differ: the kernel's form of an address, the value of PMI_PORT for ranks, and the
// identification of the peer. All other code treats transports alike. (The inherited fd needs none of this.)
//
// To add a transport, change these six files:
//
// 1. native/wire/address.h: an enumerator in Transport, its name in kTransportNames, and a struct of its
//    addresses in Address, in the same order.
// 2. native/wire/address.cpp: its grammar, in parse_address() and to_pmi_port().
// 3. native/os/socket_address.h and
// 4. native/os/socket_address.cpp: the kernel's address, made of it and as text.
// 5. native/runtime/transport.cpp: a class and its line in kTransports. The compiler checks their count.
// 6. lib/transports.ts: its name, and how launch() uses it.
//
// Then add its addresses to test/native/wire/address_test.cpp and to docs/pmi-port.md, and itself to
// docs/transports.md. A transport whose peers the kernel reports in a new way also needs a function beside
// native/os/peer.h.
//
// Threads: any.
#pragma once

#include <functional>
#include <string>

#include "engine/peer.h"
#include "os/socket_address.h"
#include "wire/address.h"

namespace wireup::runtime {

// Finds the process that has connected this accepted socket. Throws os::OsError if the connection has ended.
using Identify = std::function<engine::Peer(int socket)>;

class TransportDescriptor {
 public:
  virtual ~TransportDescriptor() = default;

  // Whether sockets of this address family (AF_...) belong to the transport.
  virtual bool has_family(int family) const = 0;

  // Throws os::OsError: ENAMETOOLONG for a path, EINVAL for a TCP host that is not an address in digits.
  virtual os::SocketAddress to_socket_address(const wire::Address& address) const = 0;
  virtual wire::Address to_wire_address(const os::SocketAddress& address) const = 0;

  // Where a listener really listens that was asked to listen on `asked`.
  virtual wire::Address listens_at(const wire::Address& asked, const os::SocketAddress& bound) const = 0;

  // What ranks get as PMI_PORT. `on_other_machines`: ranks on other machines may join.
  virtual std::string pmi_port(const wire::Address& address, bool on_other_machines) const = 0;

  // For a listener. `with_lineage`: Peer::lineage is wanted too.
  virtual Identify identifier(bool with_lineage) const = 0;

  // Why a client must not send PMI_ID to the server at the other end of this connected socket; empty if it
  // may.
  virtual std::string why_not_trusted(int socket) const = 0;
};

const TransportDescriptor& descriptor_of(const wire::Address& address);

// Null for a family of no transport.
const TransportDescriptor* descriptor_of_family(int family);

}  // namespace wireup::runtime
