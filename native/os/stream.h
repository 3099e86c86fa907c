// A connected stream socket on the reactor. It reads until EOF before it reports a hang-up. It sends at once
// or at the end of the loop's turn, as the reactor's SocketBackend decides, and queues what the socket does
// not take, up to a limit. It sets TCP_NODELAY on TCP sockets.
//
// Threads: the reactor's. The observer may destroy the Stream in any of its callbacks. The socket is closed
// when the Stream is destroyed, not before. The destructor sends what waits for the end of the turn.
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
  // Called once, as the last call. `error` is 0 if the peer hung up, an errno if the socket failed, and
  // ENOBUFS if the write queue exceeded its limit. After close_after_flush() it is 0, or ETIMEDOUT if the
  // timeout ended first.
  virtual void on_end(Stream& stream, int error) = 0;
};

struct StreamLimits {
  // Bytes queued for a peer that does not read. The reply to a get is smaller than 2 KiB, so this is enough
  // for a client with hundreds of pipelined requests.
  std::size_t max_write_queue = 1 << 20;
  // Bytes read in one turn, so that other streams get their share.
  std::size_t read_budget = 64 << 10;
};

class Stream final : Handler, SocketBackend::Sender {
 public:
  // Makes the socket non-blocking. Throws OsError.
  Stream(Reactor& reactor, UniqueFd socket, StreamObserver& observer, StreamLimits limits = {});
  ~Stream() override;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Never calls the observer. After a failure, the next turn first delivers what the peer has sent and then
  // calls on_end(). Does nothing after a failure and after close_after_flush().
  void send(std::string_view bytes);
  // Stops reading. Calls on_end() from a later turn: when the queue has been sent, when sending fails, or
  // after `timeout`.
  void close_after_flush(Reactor::Clock::duration timeout);

  int fd() const override { return socket_.get(); }

 private:
  enum class Stop { drained, budget, gone };

  void on_ready(std::uint32_t events) override;
  std::string_view unsent() const override { return std::string_view(queue_).substr(sent_); }
  void on_sent(Sent sent) override;
  void send_queued();
  void after_send(int error);
  void queue(std::string_view bytes);
  Stop read(bool to_the_end);
  void drop_input();
  void watch();
  void detach();
  void schedule(Reactor::Clock::time_point when);
  void on_turn();
  void fail(int error);
  void end(int error);
  std::size_t queued() const { return queue_.size() - sent_; }

  Reactor& reactor_;
  const Reactor::Owner owner_;  // the backend calls on_sent() as any owner
  UniqueFd socket_;
  StreamObserver& observer_;
  StreamLimits limits_;
  Lifetime lifetime_;
  std::string queue_;
  std::size_t sent_ = 0;  // bytes of queue_, from its front
  std::uint32_t watched_ = 0;
  bool waits_ = false;  // the backend will send the queue, and then call on_sent()
  Reactor::TimerId turn_ = 0;
  int failed_ = 0;  // errno of sending; on_end() is due
  bool closing_ = false;
  bool detached_ = false;
};

}  // namespace wireup::os
