#include "runtime/transport.h"

#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <variant>

#include "os/error.h"
#include "os/peer.h"
#include "os/tcp_peer.h"
#include "wire/printable.h"

namespace wireup::runtime {
namespace {

constexpr uid_t kRoot = 0;

// A client trusts servers of its own user and of root.
std::string judge(uid_t uid) {
  if (uid == ::geteuid() || uid == kRoot) return {};
  return "it is served by uid " + std::to_string(uid) + ", not by us (uid " + std::to_string(::geteuid()) +
         ") or root";
}

std::string own_name() {
  char name[HOST_NAME_MAX + 1]{};
  if (::gethostname(name, HOST_NAME_MAX) < 0) throw os::OsError::last("gethostname");
  return name;
}

class Tcp final : public TransportDescriptor {
 public:
  bool has_family(int family) const override { return family == AF_INET || family == AF_INET6; }

  os::SocketAddress to_socket_address(const wire::Address& address) const override {
    const auto& tcp = std::get<wire::TcpAddress>(address);
    if (auto numeric = os::SocketAddress::numeric(tcp.host, tcp.port)) return *numeric;
    throw os::OsError(EINVAL, "inet_pton", tcp.host);
  }

  wire::Address to_wire_address(const os::SocketAddress& address) const override {
    return wire::TcpAddress{address.host(), address.port()};
  }

  // The kernel chooses a port for port 0.
  wire::Address listens_at(const wire::Address&, const os::SocketAddress& bound) const override {
    return to_wire_address(bound);
  }

  // A rank can connect only to one of all addresses (0.0.0.0, [::]), so it gets one.
  std::string pmi_port(const wire::Address& address, bool on_other_machines) const override {
    const auto& tcp = std::get<wire::TcpAddress>(address);
    if (tcp.host != "0.0.0.0" && tcp.host != "::") return wire::to_pmi_port(address);
    return wire::to_pmi_port(wire::TcpAddress{on_other_machines ? own_name() : "127.0.0.1", tcp.port});
  }

  Identify identifier(bool) const override {
    // Its netlink socket stays open: it works even if the process can open no more files.
    return [peers = std::make_shared<os::TcpPeers>()](int socket) {
      engine::Peer peer;
      peer.transport = wire::Transport::tcp;
      os::TcpPeerError fault = os::TcpPeerError::none;
      const auto owner = peers->peer(socket, fault);
      const os::SocketAddress address = os::SocketAddress::of_peer(socket);
      peer.address = address.text();
      if (owner) {
        peer.uid = owner->uid;
      } else if (fault == os::TcpPeerError::other_machine) {
        peer.host = address.host();
      } else {
        peer.unknown = os::describe(fault);
      }
      return peer;
    };
  }

  // This host's kernel knows no server on another host, so such a server is not checked.
  std::string why_not_trusted(int socket) const override {
    os::TcpPeerError fault = os::TcpPeerError::none;
    const auto server = os::tcp_server(socket, fault);
    if (server) return judge(server->uid);
    if (fault == os::TcpPeerError::other_machine) return {};
    return "the user of the server is unknown: " + std::string(os::describe(fault));
  }
};

class UnixSocket final : public TransportDescriptor {
 public:
  bool has_family(int family) const override { return family == AF_UNIX; }

  os::SocketAddress to_socket_address(const wire::Address& address) const override {
    const auto& local = std::get<wire::UnixAddress>(address);
    return local.abstract ? os::SocketAddress::unix_abstract(local.path)
                          : os::SocketAddress::unix_path(local.path);
  }

  wire::Address to_wire_address(const os::SocketAddress& address) const override {
    const std::string text = address.text();
    if (text.starts_with('@')) return wire::UnixAddress{text.substr(1), true};
    return wire::UnixAddress{text, false};
  }

  wire::Address listens_at(const wire::Address& asked, const os::SocketAddress&) const override {
    return asked;
  }

  std::string pmi_port(const wire::Address& address, bool) const override {
    return wire::to_pmi_port(address);
  }

  Identify identifier(bool with_lineage) const override {
    return [with_lineage](int socket) {
      engine::Peer peer;
      peer.transport = wire::Transport::unix_socket;
      peer.address = wire::printable(os::SocketAddress::of_peer(socket).text());
      const auto credentials = os::unix_peer(socket);
      if (!credentials) return peer;
      peer.uid = credentials->uid;
      if (credentials->pid != 0) peer.pid = credentials->pid;
      if (with_lineage) peer.lineage = os::lineage_of_peer(socket);
      return peer;
    };
  }

  std::string why_not_trusted(int socket) const override {
    const auto peer = os::unix_peer(socket);
    return peer ? judge(peer->uid) : "the kernel does not report the user of the server";
  }
};

const Tcp kTcp;
const UnixSocket kUnixSocket;

// In the order of wire::Address.
constexpr std::array<const TransportDescriptor*, std::variant_size_v<wire::Address>> kTransports{
    &kTcp, &kUnixSocket};
static_assert(std::ranges::count(kTransports, nullptr) == 0);

}  // namespace

const TransportDescriptor& descriptor_of(const wire::Address& address) {
  return *kTransports.at(address.index());
}

const TransportDescriptor* descriptor_of_family(int family) {
  const auto found = std::ranges::find_if(
      kTransports, [&](const TransportDescriptor* one) { return one->has_family(family); });
  return found == kTransports.end() ? nullptr : *found;
}

}  // namespace wireup::runtime
