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
  int error = 0;         // errno
  bool complete = true;  // false: bytes or fds did not fit, in the buffer or under our limit of open files
  std::size_t size = 0;
  std::vector<UniqueFd> fds;  // CLOEXEC
};

ReceivedMessage receive_message(int socket, std::span<char> buffer);

}  // namespace wireup::os
