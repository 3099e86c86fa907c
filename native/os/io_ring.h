// io_uring, for one use: many receives and sends by one system call. By the kernel's own interface
// (linux/io_uring.h), since a build needs nothing but a compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "os/fd.h"

namespace wireup::os {

// A recv(2) or send(2) that does not wait.
struct SocketCall {
  enum class Kind : std::uint8_t { receive, send };
  Kind kind;
  int fd;  // non-blocking
  char* data;
  std::uint32_t size;
  std::int32_t result;  // of bytes, or -errno
};

class IoRing {
 public:
  // Null where the kernel is older than 5.7, has been told to refuse io_uring (sysctl
  // kernel.io_uring_disabled), or a seccomp filter refuses it, as those of most container runtimes do.
  static std::unique_ptr<IoRing> open();
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // In their order; all are done when it returns. False when the kernel has refused: what was not done has
  // the result -EAGAIN, and the ring is of no more use.
  bool perform(std::span<SocketCall> calls);

 private:
  struct Queues;

  IoRing(UniqueFd ring, std::unique_ptr<Queues> queues);
  bool perform_some(std::span<SocketCall> calls);

  UniqueFd ring_;
  std::unique_ptr<Queues> queues_;
};

}  // namespace wireup::os
