// What a turn of the loop receives and sends, each by one system call for all its sockets. A PMI request is
// small and its answer too, so that most of a server's time is the way into the kernel and back.
//
// Where there is no io_uring, nothing is received here, and nothing sent: then each stream does so by itself.
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/buffer.h"
#include "os/io_ring.h"

namespace wireup::os {

// What a socket has taken.
struct Sent {
  std::size_t size;
  int error;  // why it takes no more (errno); 0: nothing is wrong, though it may be full
};

// Sends by itself what the socket takes now.
Sent send_now(int socket, std::string_view bytes);

class SocketBatch {
 public:
  class Sender {
   public:
    // `left` is what the socket did not take; `error` is why it takes no more (errno), or 0.
    virtual void on_sent(std::string_view left, int error) = 0;

   protected:
    ~Sender() = default;
  };

  // 0: none. Good until on_sent() is called, or drop().
  using Ticket = std::uint32_t;

  // What was in a socket.
  struct Received {
    std::string_view bytes = {};  // none without an error: the end of the stream
    int error = 0;                // errno
    bool full = false;            // all the room was taken: there may be more
  };

  // `is_allowed` is false for those who want each call by itself.
  explicit SocketBatch(bool is_allowed) : is_allowed_(is_allowed) {}

  // More would spare few system calls, and with a thousand ranks what a turn touches would leave the
  // processor's cache before it is touched again (docs/performance.md).
  static constexpr std::size_t kMostSockets = 32;

  // Receives from all, kMostSockets at most. False, and nothing was done, when that is not worth a call in
  // common.
  bool receive(std::span<const int> sockets);
  // Of sockets[index]; once. The bytes are good until the next receive().
  Received take(std::size_t index) const;

  // From here to flush(), what is sent waits for the others.
  void open() { is_open_ = ring_ != nullptr; }
  void flush();
  void close() { is_open_ = false; }
  // No socket is left: gives back what is the kernel's. What has been received stays.
  void rest() { ring_.reset(); }

  // Before add() or extend(): what is there is sent when `size` more would be too much. Calls any on_sent().
  void make_room(std::size_t size) {
    if (bytes_.size() + size > kMostBytes && !sends_.empty()) send_all();
  }
  // 0 when nothing waits now, or it is too much: the caller sends it by itself.
  Ticket add(Sender& sender, int socket, std::string_view bytes);
  // False when another has been added since: what is sent after it would overtake what the socket does not
  // take.
  bool extend(Ticket ticket, std::string_view bytes);
  // Sends that one at once, by itself; calls its on_sent().
  void settle(Ticket ticket);
  void drop(Ticket ticket) { sends_[ticket - 1].sender = nullptr; }

 private:
  // A read budget of a connection, and of answers what a barrier of thousands takes.
  static constexpr std::size_t kMostBytes = 256 << 10;

  struct Send {
    Sender* sender;  // null: done, or dropped
    int socket;
    std::size_t begin;
    std::size_t size;
  };

  bool is_worth_it(std::size_t count);
  void perform(std::span<SocketCall> calls);
  void send_all();
  void report(Send& send, const Sent& sent);

  bool is_allowed_;
  bool is_open_ = false;
  std::unique_ptr<IoRing> ring_;  // from the first turn that is worth it
  std::vector<SocketCall> receives_;
  std::unique_ptr<Buffer> rooms_;  // for them
  std::vector<Send> sends_;
  std::vector<SocketCall> calls_;
  std::string bytes_;  // of all that is to be sent
};

}  // namespace wireup::os
