#include "os/socket_backend_choice.h"

#include <utility>

namespace wireup::os {

SocketBackendChoice::Rule SocketBackendChoice::rule_of(UseIoUring use) {
  if (use == UseIoUring::always) return {.readable_to_open = 1, .fewest_calls = 1};
  // One call costs more by the ring than by itself, two cost less. Opening the ring takes half a millisecond,
  // more than a job of few ranks saves by it.
  return {.readable_to_open = 8, .fewest_calls = 2};
}

SocketBackendChoice::SocketBackendChoice(UseIoUring use)
    : rule_(rule_of(use)), may_open_(use != UseIoUring::never) {}

void SocketBackendChoice::begin_turn(std::span<const int> readable) {
  if (io_uring_ && !io_uring_->works()) {
    close_io_uring();
    may_open_ = false;
  }
  if (!io_uring_ && may_open_ && readable.size() >= rule_.readable_to_open) {
    if (auto ring = IoRing::open()) {
      io_uring_ = std::make_unique<IoUringSockets>(std::move(ring), plain_, rule_.fewest_calls);
      current_ = io_uring_.get();
    } else {
      may_open_ = false;
    }
  }
  current_->begin_turn(readable);
}

void SocketBackendChoice::end_turn(bool has_sockets) {
  current_->end_turn();
  if (!has_sockets && io_uring_) close_io_uring();
}

void SocketBackendChoice::close_io_uring() {
  // If an exception ended the turn, senders still wait.
  io_uring_->end_turn();
  current_ = &plain_;
  io_uring_.reset();
}

}  // namespace wireup::os
