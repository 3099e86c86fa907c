// One of the agent's own fds 0, 1 and 2, or an fd of an output. Its use never blocks the agent's loop. It
// does not change flags of the open file description of 0, 1 and 2, which the launcher, its shell and the
// ranks share. The method depends on the file:
//
//   pipe, terminal   opened again through /proc/self/fd, with a non-blocking open file description of its own
//   regular file     used directly, because it is always ready
//   socket           MSG_DONTWAIT
//   everything else  poll(2), then at most PIPE_BUF bytes
//
// Everything else includes pipes and terminals that cannot be opened again (another user's, or without
// /proc). If another writer fills such a pipe between the two calls, the agent waits for the pipe's reader.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

#include "os/fd.h"

namespace wireup::agent {

class Stdio {
 public:
  enum class Direction { in, out };

  Stdio(int fd, Direction direction);
  // A file, pipe or device that no other process uses through this open file description, so it is made
  // non-blocking and used directly. Throws OsError.
  explicit Stdio(os::UniqueFd own);

  // The fd to watch on the reactor. If the reactor refuses it with EPERM, it is always ready.
  int fd() const { return own_ ? own_.get() : original_; }

  // Like read(2) and write(2) on a non-blocking fd: -1 with errno EAGAIN if they would wait.
  ssize_t read(char* buffer, std::size_t size) const;
  ssize_t write(const char* bytes, std::size_t size) const;

 private:
  enum class Method { direct, socket, poll_first };

  int original_;
  os::UniqueFd own_;
  Method method_ = Method::poll_first;
};

// Whether a write to `fd` may fail instead of waiting. Programs do not expect this of an inherited stream,
// and lose output.
bool refuses_to_wait(int fd);

// Opens the pipe or terminal of `fd` again, with an open file description of its own. Empty if it is neither,
// or cannot be opened (another user's, or /proc is missing).
os::UniqueFd open_again(int fd, int flags);

// Whether two fds lead to the same pipe, terminal or socket, so that one writer must serve both.
bool same_stream(int a, int b);

// Prints one line on the agent's stderr, without a prefix: as complain().
void print_line(std::string_view text);

// Prints one line on the agent's stderr, with printable characters only (wire/printable.h). Prints only as
// much as fits without waiting.
void complain(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace wireup::agent
