// Chooses the backend of the loop's stream sockets: the one place that knows when io_uring pays.
// docs/performance.md has the measurements. Threads: the reactor's.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "os/io_uring_sockets.h"
#include "os/plain_sockets.h"
#include "os/socket_backend.h"

namespace wireup::os {

enum class UseIoUring {
  automatic,  // from the first turn with enough readable sockets to pay for it, if the kernel allows it
  never,
  always,  // for tests: from the first turn with a readable socket, also for single calls
};

class SocketBackendChoice {
 public:
  explicit SocketBackendChoice(UseIoUring use);

  SocketBackend& current() { return *current_; }

  // Whether begin_turn() needs the list of readable sockets in a turn with this many ready fds. If not, the
  // list may be empty.
  bool needs_readable(std::size_t ready) const {
    return io_uring_ ? ready >= rule_.fewest_calls : may_open_ && ready >= rule_.readable_to_open;
  }
  // Chooses a backend, and begins the turn with it.
  void begin_turn(std::span<const int> readable);
  // `has_sockets`: whether the loop still watches a stream socket. If not, closes the ring, which holds two
  // mappings and locked memory.
  void end_turn(bool has_sockets);

 private:
  struct Rule {
    std::size_t readable_to_open;  // opens the ring in a turn with this many readable sockets
    std::size_t fewest_calls;      // uses the ring for this many calls or more
  };

  static Rule rule_of(UseIoUring use);
  void close_io_uring();

  const Rule rule_;
  bool may_open_;
  PlainSockets plain_;
  std::unique_ptr<IoUringSockets> io_uring_;
  SocketBackend* current_ = &plain_;
};

}  // namespace wireup::os
