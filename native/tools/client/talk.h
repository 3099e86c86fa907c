// A blocking conversation on a PMI connection: what is said is sent whole, what comes is handed over as it
// comes, and neither waits longer than it may. The socket is left as it is (blocking or not): flags are of
// the open file, which others may share.
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
  // `server`: for people. The fd stays the caller's.
  Talk(int socket, std::string server) : socket_(socket), server_(std::move(server)) {}

  // Throw Failure: no progress until the deadline, or the socket failed. Without a deadline they wait for
  // ever. A peer that has hung up is no failure of say(): what it said before is still to be heard.
  void say(std::string_view bytes, const std::optional<Deadline>& deadline) const;
  // Empty at the end. Valid until the next call.
  std::string_view hear(const std::optional<Deadline>& deadline);

  // Whether hear() would return before the deadline.
  bool can_hear(const Deadline& deadline) const { return ready(POLLIN, deadline); }

  const std::string& server() const { return server_; }

 private:
  // Signals do not shorten it: a program may have a profiling timer.
  bool ready(short events, const std::optional<Deadline>& deadline) const;
  void wait(short events, const std::optional<Deadline>& deadline) const;
  [[noreturn]] void fail() const;

  int socket_;
  std::string server_;
  char buffer_[4096];
};

}  // namespace wireup::client
