#include <sys/wait.h>

#include <algorithm>
#include <vector>

#include "os/peer.h"
#include "os/socket_address.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

UniqueFd listen_at(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = SocketAddress::unix_path(path);
  REQUIRE(::bind(socket.get(), address.raw(), address.size()) == 0);
  REQUIRE(::listen(socket.get(), 4) == 0);
  return socket;
}

// Connects, sends its pid to `channel`, and stays until it receives a byte.
[[noreturn]] void connect_and_stay(const std::string& path, int channel) {
  const UniqueFd socket = connect_blocking(SocketAddress::unix_path(path), 5000);
  const pid_t self = ::getpid();
  char byte = 0;
  if (::write(channel, &self, sizeof self) != sizeof self) ::_exit(1);
  ::_exit(::read(channel, &byte, 1) == 1 ? 0 : 2);
}

}  // namespace

TEST_CASE("lineage: a peer, its parents up to this process, and further; empty after the peer has ended") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  const UniqueFd listener = listen_at(path);
  FdPair channel = stream_pair();
  set_nonblocking(channel.first.get(), false);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) connect_and_stay(path, channel.second.get());
    int status = 0;
    ::_exit(::waitpid(grandchild, &status, 0) == grandchild ? WEXITSTATUS(status) : 3);
  }
  pid_t grandchild = 0;
  REQUIRE(::read(channel.first.get(), &grandchild, sizeof grandchild) == sizeof grandchild);
  const UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::vector<pid_t> lineage = lineage_of_peer(peer.get());
  REQUIRE(lineage.size() >= 4);
  CHECK(lineage[0] == grandchild);
  CHECK(lineage[1] == child);
  CHECK(lineage[2] == ::getpid());
  CHECK(lineage[3] == ::getppid());
  REQUIRE(::write(channel.first.get(), "x", 1) == 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(lineage_of_peer(peer.get()).empty());
}

TEST_CASE("lineage: empty for an fd that is not a connected unix socket") {
  CHECK(lineage_of_peer(-1).empty());
  CHECK(lineage_of_peer(make_pipe().first.get()).empty());
}

}  // namespace wireup::os
