// What the kernel reports about the process at the other end of a unix socket. Threads: any.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

namespace wireup::os {

struct PeerCredentials {
  uid_t uid;
  gid_t gid;
  pid_t pid;  // 0 if it is not visible in this process's pid namespace
};

// SO_PEERCRED of a connected AF_UNIX socket: the process that called connect(2). Empty for other sockets. For
// a socketpair it is the process that made the pair, so it proves nothing about the peer.
std::optional<PeerCredentials> unix_peer(int fd);

// The process that connected this AF_UNIX socket, its parent, and so on up to the first process of this pid
// namespace. Empty if the kernel or /proc does not report them, or if that process has ended, because another
// process may have its number. A parent may end during the look-up, so the result detects mistakes, but not
// attacks.
std::vector<pid_t> lineage_of_peer(int fd);

}  // namespace wireup::os
