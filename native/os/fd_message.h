// sendmsg and recvmsg with fds beside the bytes (SCM_RIGHTS). Threads: any.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "os/fd.h"

namespace wireup::os {

// 0, or errno. At most kMaxFdsPerMessage fds, which stay the caller's.
int send_message(int socket, std::string_view bytes, const std::vector<UniqueFd>& fds);

struct ReceivedMessage {
  int error = 0;           // errno
  bool truncated = false;  // the bytes did not fit in the buffer
  bool fds_lost = false;   // fds did not fit under our limit of open files
  std::size_t size = 0;
  std::vector<UniqueFd> fds;  // CLOEXEC; those that fitted
};

ReceivedMessage receive_message(int socket, std::span<char> buffer);

}  // namespace wireup::os
