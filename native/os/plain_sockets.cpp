#include "os/plain_sockets.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace wireup::os {

namespace {

// One read of this size empties a stream socket of the default size, but for the largest bursts.
constexpr std::size_t kBufferSize = 64 << 10;

}  // namespace

Sent send_now(int socket, std::string_view bytes) {
  Sent sent;
  while (sent.size < bytes.size()) {
    const ssize_t count = ::send(socket, bytes.data() + sent.size, bytes.size() - sent.size, MSG_NOSIGNAL);
    if (count >= 0) {
      sent.size += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) sent.error = errno;
      break;
    }
  }
  return sent;
}

PlainSockets::PlainSockets() : buffer_(kBufferSize) {}

Received PlainSockets::receive(int socket, std::size_t most) {
  const std::size_t room = std::min(most, buffer_.size());
  for (;;) {
    const ssize_t count = ::recv(socket, buffer_.data(), room, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return {.error = errno};
    const auto size = static_cast<std::size_t>(count);
    return {.bytes = {buffer_.data(), size}, .full = size == room};
  }
}

std::optional<Sent> PlainSockets::send(Sender& sender, std::string_view bytes) {
  return send_now(sender.fd(), bytes);
}

}  // namespace wireup::os
