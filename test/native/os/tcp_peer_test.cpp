#include "os/tcp_peer.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstddef>

#include "os/socket_address.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

// A listening socket without a reactor, so that the test controls when it accepts.
UniqueFd listen_at(const SocketAddress& address, bool dual_stack = false) {
  UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(socket);
  if (dual_stack) {
    const int no = 0;
    REQUIRE(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) == 0);
  }
  REQUIRE(::bind(socket.get(), address.raw(), address.size()) == 0);
  REQUIRE(::listen(socket.get(), 16) == 0);
  return socket;
}

UniqueFd accept_one(int listener) {
  UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(socket);
  return socket;
}

// Runs `body` in a child process with another uid. Its exit code is the result of `body`.
template <typename Body>
pid_t as_other_user(Body body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(::setresuid(kOtherUser, kOtherUser, kOtherUser) == 0 ? body() : 99);
  return child;
}

int exit_code(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Waits for the peer's FIN or RST. The loopback delivers it during the peer's close(2), and so before the
// peer's process has ended.
TcpPeerError fault_of(int fd) {
  TcpPeerError fault = TcpPeerError::none;
  CHECK_FALSE(tcp_peer(fd, fault));
  return fault;
}

struct Family {
  const char* listen;
  const char* connect;
};
// IPv4, IPv6, and both kinds of client on a dual-stack listener.
constexpr Family kFamilies[] = {
    {"127.0.0.1", "127.0.0.1"}, {"::1", "::1"}, {"::", "127.0.0.1"},
    {"::", "::ffff:127.0.0.1"}, {"::", "::1"},  {"127.0.0.1", "::ffff:127.0.0.1"},
};

}  // namespace

TEST_CASE("tcp_peer: both ends can look up the other's uid") {
  for (const Family& family : kFamilies) {
    CAPTURE(family.listen);
    CAPTURE(family.connect);
    const UniqueFd listener =
        listen_at(*SocketAddress::numeric(family.listen, 0), std::string(family.listen) == "::");
    const std::uint16_t port = SocketAddress::of_local(listener.get()).port();
    const UniqueFd client = connect_blocking(*SocketAddress::numeric(family.connect, port), 5000);

    // The server has not accepted yet, so the kernel knows only the listener.
    TcpPeerError fault = TcpPeerError::none;
    CHECK_FALSE(tcp_peer(client.get(), fault));
    CHECK(fault == TcpPeerError::closed);
    const auto early = tcp_server(client.get(), fault);
    REQUIRE(early);
    CHECK(early->uid == ::geteuid());

    const UniqueFd accepted = accept_one(listener.get());
    const auto peer = tcp_peer(accepted.get(), fault);
    REQUIRE(peer);
    CHECK(fault == TcpPeerError::none);
    CHECK(peer->uid == ::geteuid());
    const auto server = tcp_server(client.get(), fault);
    REQUIRE(server);
    CHECK(server->uid == ::geteuid());
    CHECK(tcp_peer(client.get()));
  }
}

TEST_CASE("tcp_peer: finds a peer that has only stopped sending") {
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  const UniqueFd client = connect_blocking(SocketAddress::of_local(listener.get()), 5000);
  const UniqueFd accepted = accept_one(listener.get());
  REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
  CHECK(tcp_peer(accepted.get()));
}

TEST_CASE("tcp_peer: does not find a peer that has closed") {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const UniqueFd listener = listen_at(*SocketAddress::numeric(host, 0));
    UniqueFd client = connect_blocking(SocketAddress::of_local(listener.get()), 5000);
    const UniqueFd accepted = accept_one(listener.get());
    REQUIRE(::send(client.get(), "x", 1, 0) == 1);
    client.reset();
    CHECK(fault_of(accepted.get()) == TcpPeerError::closed);
    char byte = 0;
    CHECK(::recv(accepted.get(), &byte, 1, 0) == 1);
  }
}

TEST_CASE("tcp_peer: does not find a peer that has reset the connection") {
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  UniqueFd client = connect_blocking(SocketAddress::of_local(listener.get()), 5000);
  const UniqueFd accepted = accept_one(listener.get());
  const linger at_once{1, 0};
  REQUIRE(::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  client.reset();
  CHECK(fault_of(accepted.get()) == TcpPeerError::not_tcp);
}

TEST_CASE("tcp_peer: a later connection with the same addresses and ports does not count for the first") {
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  const SocketAddress there = SocketAddress::of_local(listener.get());
  const auto connect_from = [&](const SocketAddress& here) {
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(client.get(), here.raw(), here.size()) == 0);
    REQUIRE(::connect(client.get(), there.raw(), there.size()) == 0);
    return client;
  };
  UniqueFd client = connect_from(*SocketAddress::numeric(own_loopback(), 0));
  const SocketAddress here = SocketAddress::of_local(client.get());
  const UniqueFd first = accept_one(listener.get());
  const linger at_once{1, 0};
  REQUIRE(::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  client.reset();
  client = connect_from(here);
  const UniqueFd second = accept_one(listener.get());
  CHECK(fault_of(first.get()) == TcpPeerError::not_tcp);
  CHECK(tcp_peer(second.get()));
}

TEST_CASE("tcp_peer: fails for an fd that is not a connected TCP socket") {
  CHECK(fault_of(-1) == TcpPeerError::not_tcp);
  CHECK(fault_of(make_pipe().first.get()) == TcpPeerError::not_tcp);
  CHECK(fault_of(stream_pair().first.get()) == TcpPeerError::not_tcp);
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  CHECK(fault_of(listener.get()) == TcpPeerError::not_tcp);
}

TEST_CASE("tcp_peer: reports the uid of another user, at either end" * doctest::skip(!is_root())) {
  for (const Family& family : kFamilies) {
    CAPTURE(family.listen);
    CAPTURE(family.connect);
    const UniqueFd listener =
        listen_at(*SocketAddress::numeric(family.listen, 0), std::string(family.listen) == "::");
    const SocketAddress there =
        *SocketAddress::numeric(family.connect, SocketAddress::of_local(listener.get()).port());
    FdPair done = stream_pair();
    const pid_t child = as_other_user([&] {
      const UniqueFd client(::socket(there.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(client.get(), there.raw(), there.size()) != 0) return 1;
      TcpPeerError fault = TcpPeerError::none;
      const auto early = tcp_server(client.get(), fault);
      char byte = 0;
      // Stays until the other side has looked it up.
      if (::read(done.second.get(), &byte, 1) != 1) return 2;
      const auto later = tcp_server(client.get(), fault);
      return early && early->uid == 0 && later && later->uid == 0 ? 0 : 3;
    });
    const UniqueFd accepted = accept_one(listener.get());
    const auto peer = tcp_peer(accepted.get());
    REQUIRE(peer);
    CHECK(peer->uid == kOtherUser);
    REQUIRE(::write(done.first.get(), "x", 1) == 1);
    CHECK(exit_code(child) == 0);
  }
}

TEST_CASE("tcp_server: reports the uid of another user's listener that has taken the port" *
          doctest::skip(!is_root())) {
  FdPair channel = stream_pair();
  const pid_t child = as_other_user([&] {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress any = *SocketAddress::numeric("127.0.0.1", 0);
    if (::bind(listener.get(), any.raw(), any.size()) != 0 || ::listen(listener.get(), 1) != 0) return 1;
    const std::uint16_t port = SocketAddress::of_local(listener.get()).port();
    if (::write(channel.second.get(), &port, sizeof port) != sizeof port) return 2;
    char byte = 0;
    return ::read(channel.second.get(), &byte, 1) == 1 ? 0 : 3;
  });
  set_nonblocking(channel.first.get(), false);
  std::uint16_t port = 0;
  REQUIRE(::read(channel.first.get(), &port, sizeof port) == sizeof port);
  const UniqueFd client = connect_blocking(*SocketAddress::numeric("127.0.0.1", port), 5000);
  TcpPeerError fault = TcpPeerError::none;
  const auto server = tcp_server(client.get(), fault);
  REQUIRE(server);
  CHECK(server->uid == kOtherUser);
  REQUIRE(::write(channel.first.get(), "x", 1) == 1);
  CHECK(exit_code(child) == 0);
}

TEST_CASE("tcp_peer: fails if the kernel refuses the query") {
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  const UniqueFd client = connect_blocking(SocketAddress::of_local(listener.get()), 5000);
  const UniqueFd accepted = accept_one(listener.get());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // socket(AF_NETLINK, ...) fails with EPERM, as under a container's seccomp profile.
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(program), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(1);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(2);
    TcpPeerError fault = TcpPeerError::none;
    if (tcp_peer(accepted.get(), fault)) ::_exit(3);
    ::_exit(fault == TcpPeerError::no_sock_diag ? 0 : 4);
  }
  CHECK(exit_code(child) == 0);
}

TEST_CASE("tcp_peer: TcpPeers needs no further fd for a look-up") {
  const UniqueFd listener = listen_at(*SocketAddress::numeric("127.0.0.1", 0));
  const UniqueFd client = connect_blocking(SocketAddress::of_local(listener.get()), 5000);
  const UniqueFd accepted = accept_one(listener.get());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    TcpPeers peers;
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) ::_exit(1);
    TcpPeerError fault = TcpPeerError::none;
    ::_exit(peers.peer(accepted.get(), fault) && !tcp_peer(accepted.get()) ? 0 : 2);
  }
  CHECK(exit_code(child) == 0);
}

}  // namespace wireup::os
