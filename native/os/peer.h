// What the kernel tells about the process at the other end of a socket.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

namespace wireup::os {

struct PeerCredentials {
  uid_t uid;
  gid_t gid;
  pid_t pid;  // 0 when it is in a pid namespace that we cannot see
};

// SO_PEERCRED of a connected AF_UNIX socket: who called connect(). Empty for other sockets.
// On a socketpair it names whoever made the pair, so it proves nothing there.
std::optional<PeerCredentials> unix_peer(int fd);

// The process that connected this AF_UNIX socket and its parents, nearest first, up to the first of our pid
// namespace. Empty where the kernel or /proc does not tell, or when that process has ended: its number may be
// another's by now. A parent may end while we look, so this finds mistakes, not attackers.
std::vector<pid_t> lineage_of_peer(int fd);

}  // namespace wireup::os
