#include "os/fd_message.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "os/message_socket.h"

namespace wireup::os {

namespace {

struct alignas(cmsghdr) Control {
  char bytes[CMSG_SPACE(kMaxFdsPerMessage * sizeof(int))];
};

}  // namespace

int send_message(int socket, std::string_view bytes, const std::vector<UniqueFd>& fds) {
  // sendmsg(2) does not write to the buffer.
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    const std::size_t size = fds.size() * sizeof(int);
    std::memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    auto* data = CMSG_DATA(header);
    for (const UniqueFd& fd : fds) {
      const int number = fd.get();
      std::memcpy(data, &number, sizeof number);
      data += sizeof number;
    }
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

ReceivedMessage receive_message(int socket, std::span<char> buffer) {
  iovec part{buffer.data(), buffer.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  ReceivedMessage received;
  ssize_t count;
  do {
    count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    received.error = errno;
    return received;
  }
  received.size = static_cast<std::size_t>(count);
  received.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  received.fds_lost = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < fds; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  return received;
}

}  // namespace wireup::os
