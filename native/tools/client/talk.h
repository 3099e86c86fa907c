// Blocking sends and receives on a PMI connection, with deadlines. It works on blocking and non-blocking
// sockets and does not change the socket's flags, because other processes may share the open file. Threads:
// one.
#pragma once

#include <poll.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tools/client/deadline.h"

namespace wireup::client {

class Talk {
 public:
  // `server` is for people. Does not close the fd.
  Talk(int socket, std::string server) : socket_(socket), server_(std::move(server)) {}

  // Both throw Failure at the deadline, or if the socket fails. Without a deadline they wait for ever.
  // Sends all bytes. Returns normally if the peer has hung up, because its last bytes can still be received.
  void send(std::string_view bytes, const std::optional<Deadline>& deadline) const;
  // Returns the next bytes, valid until the next call; empty at the end of the stream.
  std::string_view receive(const std::optional<Deadline>& deadline);

  // Whether receive() would return before the deadline.
  bool can_receive(const Deadline& deadline) const { return ready(POLLIN, deadline); }

  const std::string& server() const { return server_; }

 private:
  // A signal does not end the wait, because a program may have a profiling timer.
  bool ready(short events, const std::optional<Deadline>& deadline) const;
  void wait(short events, const std::optional<Deadline>& deadline) const;
  [[noreturn]] void fail() const;

  int socket_;
  std::string server_;
  char buffer_[4096];
};

}  // namespace wireup::client
