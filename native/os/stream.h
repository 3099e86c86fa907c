// A connected stream socket on the reactor: reads until EOF before it tells of a hang-up, writes at the end
// of the loop's turn at the latest where the socket takes it, and queues the rest up to a bound. TCP_NODELAY
// is set on TCP.
//
// Threads: the reactor's. The observer may destroy the Stream from within any of its callbacks. The socket is
// closed when the Stream is destroyed, not before; what waits for the end of the turn is written then.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"

namespace wireup::os {

class Stream;

class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  virtual void on_bytes(Stream& stream, std::string_view bytes) = 0;
  // Once, last: the peer hung up (error 0), or the socket failed (errno), or the write queue went over its
  // bound (ENOBUFS), or close_after_flush() is done (error 0; ETIMEDOUT when its timeout ended first).
  virtual void on_end(Stream& stream, int error) = 0;
};

struct StreamLimits {
  // Queued for a peer that does not read. A barrier's or a get's reply is under 2 KiB, so this is room for a
  // client with hundreds of pipelined requests.
  std::size_t max_write_queue = 1 << 20;
  // Read in one turn before others get theirs.
  std::size_t read_budget = 64 << 10;
};

class Stream final : Handler, SocketBatch::Sender {
 public:
  // Makes the socket non-blocking. Throws OsError.
  Stream(Reactor& reactor, UniqueFd socket, StreamObserver& observer, StreamLimits limits = {});
  ~Stream() override;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Never calls the observer from within: a failure comes as on_end on the next turn, and what the peer had
  // said before is delivered first. Ignored after a failure and after close_after_flush().
  void send(std::string_view bytes);
  // Stops reading; on_end comes when the queue has been written (or cannot be, or after `timeout`), never
  // from within.
  void close_after_flush(Reactor::Clock::duration timeout);

  int fd() const { return socket_.get(); }

 private:
  enum class Stop { drained, budget, gone };

  void on_ready(std::uint32_t events) override;
  void on_sent(std::string_view left, int error) override;
  void take_back(std::string_view left, int error);
  bool send_with_others(std::string_view bytes);
  void settle();
  void queue(std::string_view bytes);
  Stop read(bool to_the_end);
  std::size_t write(std::string_view bytes);
  void write_queued();
  void drop_input();
  void watch();
  void detach();
  void schedule(Reactor::Clock::time_point when);
  void on_turn();
  void fail(int error);
  void end(int error);
  std::size_t queued() const { return queue_.size() - written_; }

  Reactor& reactor_;
  const Reactor::Owner owner_;  // what is sent with others' is reported in their turns
  UniqueFd socket_;
  StreamObserver& observer_;
  StreamLimits limits_;
  Lifetime lifetime_;
  std::string queue_;
  std::size_t written_ = 0;  // of queue_, from its front
  std::uint32_t watched_ = 0;
  SocketBatch::Ticket ticket_ = 0;  // of what goes out before the queue, at the end of the turn
  Reactor::TimerId turn_ = 0;
  int failed_ = 0;  // why no more is written; on_end is due
  bool closing_ = false;
  bool detached_ = false;
};

}  // namespace wireup::os
