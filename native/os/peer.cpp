#include "os/peer.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "os/fd.h"
#include "os/proc_pids.h"
#include "os/text_file.h"

// From include/uapi/asm-generic/socket.h of Linux 6.5, because the headers of Debian 12 are older. Older
// kernels return ENOPROTOOPT.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace wireup::os {

namespace {

// 0 if /proc does not report it.
pid_t parent_of(pid_t pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  // "pid (name) state ppid ...". The name may contain any character, also ')'.
  const std::size_t name_end = stat.rfind(')');
  constexpr std::size_t kStateLength = 4;  // ") S "
  if (name_end == std::string::npos || stat.size() < name_end + kStateLength) return 0;
  pid_t parent = 0;
  std::from_chars(stat.data() + name_end + kStateLength, stat.data() + stat.size(), parent);
  return parent;
}

bool has_ended(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) != 0;
}

}  // namespace

std::optional<PeerCredentials> unix_peer(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX) return std::nullopt;
  ucred credentials{};
  size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return std::nullopt;
  // The kernel reports this uid for a socket that is not connected.
  if (credentials.uid == static_cast<uid_t>(-1)) return std::nullopt;
  return PeerCredentials{credentials.uid, credentials.gid, credentials.pid};
}

std::vector<pid_t> lineage_of_peer(int fd) {
  const auto peer = unix_peer(fd);
  if (!peer || peer->pid == 0 || !proc_is_of_our_namespace()) return {};
  UniqueFd pidfd;
  int number = -1;
  socklen_t size = sizeof number;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &number, &size) == 0) pidfd.reset(number);

  std::vector<pid_t> lineage;
  // If a parent ends during the walk, its number may be reused, and the walk may return to a process.
  for (pid_t pid = peer->pid; pid > 0 && std::ranges::count(lineage, pid) == 0; pid = parent_of(pid)) {
    lineage.push_back(pid);
  }
  // With one entry, /proc has not reported the process itself.
  if (lineage.size() < 2 || (pidfd && has_ended(pidfd.get()))) return {};
  return lineage;
}

}  // namespace wireup::os
