// sendmsg(2) and recvmsg(2) of bytes with fds (SCM_RIGHTS). Threads: any.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "os/fd.h"

namespace wireup::os {

// Returns 0 or errno. Takes at most kMaxFdsPerMessage fds, and does not close them.
int send_message(int socket, std::string_view bytes, const std::vector<UniqueFd>& fds);

struct ReceivedMessage {
  int error = 0;           // errno
  bool truncated = false;  // the bytes did not fit in the buffer
  bool fds_lost = false;   // some fds exceeded this process's limit of open files
  std::size_t size = 0;
  std::vector<UniqueFd> fds;  // CLOEXEC; without the lost ones
};

ReceivedMessage receive_message(int socket, std::span<char> buffer);

}  // namespace wireup::os
