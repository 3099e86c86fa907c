// One of the agent's own fds 0, 1 and 2, used so that it never blocks the agent's loop and without touching
// flags of the open file description, which the tool, its shell and the ranks share.
//
//   pipe, terminal   opened once more through /proc/self/fd: a description of our own, non-blocking
//   regular file     used directly; it is always ready
//   socket           MSG_DONTWAIT
//   everything else  poll(), then at most PIPE_BUF bytes. That includes pipes and terminals which cannot be
//                    opened again (somebody else's, or no /proc): there another writer that fills a pipe
//                    between the two calls can make us wait for its reader.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "os/fd.h"

namespace wireup::agent {

class Stdio {
 public:
  enum class Direction { in, out };

  Stdio(int fd, Direction direction);

  // What to watch on the reactor. Refused there with EPERM: always ready.
  int fd() const { return own_ ? own_.get() : original_; }

  // As read(2) and write(2) on a non-blocking fd: -1 with errno EAGAIN where they would wait.
  ssize_t read(char* buffer, std::size_t size) const;
  ssize_t write(const char* bytes, std::size_t size) const;

 private:
  enum class Method { direct, socket, poll_first };

  int original_;
  os::UniqueFd own_;
  Method method_ = Method::poll_first;
};

// Whether a write to `fd` may fail where it would have to wait. Programs do not expect that of an inherited
// stream, and lose what they print.
bool refuses_to_wait(int fd);

// The pipe or terminal of `fd` once more, with a description of its own. Empty: it is neither, or cannot be
// opened (it is another user's, or /proc is missing).
os::UniqueFd open_again(int fd, int flags);

// Whether fds 1 and 2 lead to the same pipe, terminal or socket, so that one writer must serve both.
bool same_stream(int a, int b);

// One line on the agent's stderr, printable (wire/printable.h), as much of it as fits without waiting.
void complain(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace wireup::agent
