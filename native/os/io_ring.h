// Performs many receives and sends by one system call, io_uring_enter(2). Uses the kernel's interface
// (linux/io_uring.h) without liburing, because a build needs only a compiler.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "os/fd.h"

namespace wireup::os {

// A recv(2) or send(2) that does not block.
struct SocketCall {
  enum class Kind : std::uint8_t { receive, send };
  Kind kind;
  int fd;  // non-blocking
  char* data;
  std::uint32_t size;
  std::int32_t result;  // number of bytes, or -errno
};

class IoRing {
 public:
  // Calls that one system call performs: all replies of a medium barrier. Each entry takes 64 bytes of
  // memory, and 16 bytes for each of twice as many results.
  static constexpr unsigned kEntries = 256;

  // Null if the kernel is older than 5.7, if sysctl kernel.io_uring_disabled is set, or if a seccomp filter
  // refuses io_uring_setup(2), as those of most container runtimes do.
  static std::unique_ptr<IoRing> open();
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // Performs the calls in their order, and returns when all are done. Returns false if the kernel refuses:
  // each call that was not performed has the result -EAGAIN, and the ring must not be used again.
  bool perform(std::span<SocketCall> calls);

 private:
  struct Queues;

  IoRing(UniqueFd ring, std::unique_ptr<Queues> queues);
  bool perform_some(std::span<SocketCall> calls);

  UniqueFd ring_;
  std::unique_ptr<Queues> queues_;
};

}  // namespace wireup::os
