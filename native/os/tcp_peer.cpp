#include "os/tcp_peer.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace wireup::os {

namespace {

// The kernel's TCP states (linux/tcp_states.h). Of the headers for user space only netinet/tcp.h names them.
constexpr std::uint8_t kEstablished = TCP_ESTABLISHED;
constexpr std::uint8_t kSynReceived = TCP_SYN_RECV;
constexpr std::uint8_t kCloseWait = TCP_CLOSE_WAIT;
constexpr std::uint8_t kListen = TCP_LISTEN;

// The kernel answers a query for one socket during send(2). The timeout is for a kernel that does not.
constexpr timeval kAnswerTimeout{1, 0};

// Stores IPv4 addresses as v4-mapped IPv6 addresses, so that a dual-stack socket and an IPv4 socket are
// equal.
struct Endpoint {
  in6_addr address{};
  std::uint16_t port = 0;  // network byte order

  bool is_v4() const { return IN6_IS_ADDR_V4MAPPED(&address); }
  bool operator==(const Endpoint& other) const {
    return port == other.port && std::memcmp(&address, &other.address, sizeof address) == 0;
  }
};

struct Connection {
  Endpoint local;
  Endpoint peer;
};

struct Row {
  uid_t uid;
  std::uint32_t inode;
  std::uint8_t state;
};

in6_addr mapped(const void* ipv4) {
  in6_addr address{};
  address.s6_addr[10] = 0xff;
  address.s6_addr[11] = 0xff;
  std::memcpy(&address.s6_addr[12], ipv4, sizeof(in_addr));
  return address;
}

std::optional<Endpoint> to_endpoint(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    return Endpoint{mapped(&v4.sin_addr), v4.sin_port};
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    return Endpoint{v6.sin6_addr, v6.sin6_port};
  }
  return std::nullopt;
}

std::optional<Connection> connection_of(int fd) {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 || protocol != IPPROTO_TCP)
    return std::nullopt;
  sockaddr_storage local{};
  sockaddr_storage peer{};
  size = sizeof local;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) < 0) return std::nullopt;
  size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) < 0) return std::nullopt;
  const auto here = to_endpoint(local);
  const auto there = to_endpoint(peer);
  if (!here || !there) return std::nullopt;
  return Connection{*here, *there};
}

// Established, or the peer has only stopped sending.
bool is_connected(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return false;
  return info.tcpi_state == kEstablished || info.tcpi_state == kCloseWait;
}

// A socket can only be bound to an address of this machine. (If net.ipv4.ip_nonlocal_bind allows any address,
// all addresses count as local, and a peer on another machine is refused because it has no row.)
bool is_of_this_machine(const Endpoint& endpoint) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (endpoint.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_addr, &endpoint.address.s6_addr[12], sizeof v4.sin_addr);
    size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = endpoint.address;
    size = sizeof v6;
  }
  const UniqueFd socket(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // If it is unknown, the address must not count as that of an allowed remote machine.
  if (!socket) return true;
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0 ||
         errno != EADDRNOTAVAIL;
}

void put_address(const Endpoint& endpoint, bool v4, __be32 (&out)[4]) {
  if (v4) {
    std::memcpy(out, &endpoint.address.s6_addr[12], sizeof(in_addr));
  } else {
    std::memcpy(out, &endpoint.address, sizeof endpoint.address);
  }
}

Endpoint get_endpoint(std::uint8_t family, const __be32 (&address)[4], __be16 port) {
  Endpoint endpoint;
  endpoint.port = port;
  if (family == AF_INET) {
    endpoint.address = mapped(address);
  } else {
    std::memcpy(&endpoint.address, address, sizeof endpoint.address);
  }
  return endpoint;
}

UniqueFd open_netlink() {
  UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (netlink) ::setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  return netlink;
}

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

// Queries the socket whose own end is `own` and whose other end is `other`. Without `other`: a listener.
std::optional<Row> look_up(int netlink, std::uint32_t sequence, const Endpoint& own, const Endpoint& other,
                           TcpPeerError& fault) {
  fault = TcpPeerError::no_sock_diag;
  const bool v4 = own.is_v4();
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = sequence;
  request.body.sdiag_family = v4 ? AF_INET : AF_INET6;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = ~0U;
  request.body.id.idiag_sport = own.port;
  request.body.id.idiag_dport = other.port;
  put_address(own, v4, request.body.id.idiag_src);
  put_address(other, v4, request.body.id.idiag_dst);
  request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (::send(netlink, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request))
    return std::nullopt;

  alignas(nlmsghdr) std::array<char, 4096> buffer;
  for (;;) {
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t size = ::recvfrom(netlink, buffer.data(), buffer.size(), 0,
                                    reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (size < 0 && errno == EINTR) continue;
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return std::nullopt;
    nlmsghdr header;
    std::memcpy(&header, buffer.data(), sizeof header);
    // Any process can send to a netlink socket; only the kernel has number 0. Late answers to earlier queries
    // are skipped too.
    if (sender.nl_pid != 0 || header.nlmsg_seq != sequence) continue;
    if (header.nlmsg_type == NLMSG_ERROR) {
      nlmsgerr error{};
      if (size >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof error))) {
        std::memcpy(&error, buffer.data() + NLMSG_HDRLEN, sizeof error);
        // The kernel's error if no such socket exists, and also if it has no tcp_diag.
        if (error.error == -ENOENT) fault = TcpPeerError::no_row;
      }
      return std::nullopt;
    }
    inet_diag_msg message;
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof message))) {
      return std::nullopt;
    }
    std::memcpy(&message, buffer.data() + NLMSG_HDRLEN, sizeof message);
    const bool listener = other.port == 0;
    fault = TcpPeerError::no_row;
    // If the connection does not exist, the kernel returns a listener on the port.
    if (listener != (message.idiag_state == kListen)) return std::nullopt;
    if (!listener &&
        (!(get_endpoint(message.idiag_family, message.id.idiag_src, message.id.idiag_sport) == own) ||
         !(get_endpoint(message.idiag_family, message.id.idiag_dst, message.id.idiag_dport) == other))) {
      return std::nullopt;
    }
    if (listener && message.id.idiag_sport != own.port) return std::nullopt;
    fault = TcpPeerError::none;
    return Row{message.idiag_uid, message.idiag_inode, message.idiag_state};
  }
}

// In its listener's queue. A socket that its process has closed is in another state.
bool is_waiting(const Row& row) {
  return row.inode == 0 && (row.state == kEstablished || row.state == kSynReceived);
}

}  // namespace

std::string_view describe(TcpPeerError fault) {
  switch (fault) {
    case TcpPeerError::none:
      return "known";
    case TcpPeerError::not_tcp:
      return "the TCP connection has ended";
    case TcpPeerError::other_machine:
      return "another machine";
    case TcpPeerError::no_sock_diag:
      return "the kernel does not report the owner of the TCP connection (sock_diag)";
    case TcpPeerError::no_row:
      return "the kernel does not know the owner of the TCP connection (sock_diag)";
    case TcpPeerError::closed:
      return "the connection closed before its owner could be looked up";
  }
  return "";
}

TcpPeers::TcpPeers() : netlink_(open_netlink()) {}

std::optional<TcpPeer> TcpPeers::peer(int fd, TcpPeerError& fault) {
  const std::optional<Connection> connection = connection_of(fd);
  if (!connection) {
    fault = TcpPeerError::not_tcp;
    return std::nullopt;
  }
  if (!netlink_) netlink_ = open_netlink();
  const std::optional<Row> row =
      look_up(netlink_.get(), ++sequence_, connection->peer, connection->local, fault);
  if (!is_connected(fd)) {
    fault = TcpPeerError::not_tcp;
  } else if (row && row->inode == 0) {
    fault = TcpPeerError::closed;
  } else if (!row && !is_of_this_machine(connection->peer)) {
    fault = TcpPeerError::other_machine;
  }
  if (fault != TcpPeerError::none) return std::nullopt;
  return TcpPeer{row->uid};
}

std::optional<TcpPeer> TcpPeers::server(int fd, TcpPeerError& fault) {
  if (const auto accepted = peer(fd, fault); accepted || fault != TcpPeerError::closed) return accepted;
  const std::optional<Connection> connection = connection_of(fd);
  if (!connection) {
    fault = TcpPeerError::not_tcp;
    return std::nullopt;
  }
  const std::optional<Row> listener =
      look_up(netlink_.get(), ++sequence_, connection->peer, {.address = connection->local.address}, fault);
  // A listener that closes resets its queue. So a connection that still waits is in the queue of this
  // listener.
  TcpPeerError after = TcpPeerError::none;
  const std::optional<Row> own =
      look_up(netlink_.get(), ++sequence_, connection->peer, connection->local, after);
  if (!is_connected(fd)) {
    fault = TcpPeerError::not_tcp;
    return std::nullopt;
  }
  if (own && own->inode != 0) {
    fault = TcpPeerError::none;
    return TcpPeer{own->uid};
  }
  if (!own || !is_waiting(*own)) {
    fault = TcpPeerError::closed;
    return std::nullopt;
  }
  if (!listener || listener->inode == 0) {
    fault = TcpPeerError::no_row;
    return std::nullopt;
  }
  return TcpPeer{listener->uid};
}

std::optional<TcpPeer> tcp_peer(int fd, TcpPeerError& fault) { return TcpPeers().peer(fd, fault); }

std::optional<TcpPeer> tcp_peer(int fd) {
  TcpPeerError fault = TcpPeerError::none;
  return tcp_peer(fd, fault);
}

std::optional<TcpPeer> tcp_server(int fd, TcpPeerError& fault) { return TcpPeers().server(fd, fault); }

}  // namespace wireup::os
