#include "tools/client/talk.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "tools/client/failure.h"

namespace wireup::client {

void Talk::send(std::string_view bytes, const std::optional<Deadline>& deadline) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return;
    } else if (errno == EAGAIN) {
      wait(POLLOUT, deadline);
    } else if (errno != EINTR) {
      fail();
    }
  }
}

std::string_view Talk::receive(const std::optional<Deadline>& deadline) {
  for (;;) {
    wait(POLLIN, deadline);
    const ssize_t size = ::recv(socket_, buffer_, sizeof(buffer_), MSG_DONTWAIT);
    if (size >= 0) return {buffer_, static_cast<std::size_t>(size)};
    if (errno == ECONNRESET) return {};
    if (errno != EINTR && errno != EAGAIN) fail();
  }
}

bool Talk::ready(short events, const std::optional<Deadline>& deadline) const {
  pollfd entry{socket_, events, 0};
  for (;;) {
    const int count = ::poll(&entry, 1, deadline ? deadline->left_ms() : -1);
    if (count >= 0) return count > 0;
    if (errno != EINTR) fail();
  }
}

void Talk::wait(short events, const std::optional<Deadline>& deadline) const {
  if (ready(events, deadline)) return;
  throw Failure("the server at " + server_ + " does not answer; is it a PMI server, and not stopped?");
}

void Talk::fail() const {
  throw Failure("talking to the PMI server at " + server_ + ": " + std::strerror(errno));
}

}  // namespace wireup::client
