// A seqpacket socket on the reactor that carries whole messages with fds attached (SCM_RIGHTS).
// Queues what the socket does not take yet; nothing is dropped while the peer is there. What the peer had
// said is delivered before its end is told. Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"

namespace wireup::os {

// SCM_MAX_FD of the kernel is 253.
inline constexpr std::size_t kMaxFdsPerMessage = 253;
// A message must fit in the socket's send buffer (net.core.wmem_default is 212,992 where nobody changed it).
inline constexpr std::size_t kMaxMessage = 160 << 10;

class MessageSocketObserver {
 public:
  virtual ~MessageSocketObserver() = default;
  // The fds are CLOEXEC; nullopt: they did not all fit under our limit of open files, so none of them is
  // left. The observer may destroy the socket in it.
  virtual void on_message(std::string_view message, std::optional<std::vector<UniqueFd>> fds) = 0;
  // Once, last; error is 0 for an orderly end, EMSGSIZE when a message did not come whole. The observer may
  // destroy the socket in it.
  virtual void on_message_end(int error) = 0;
};

class MessageSocket final : Handler {
 public:
  // Makes the socket non-blocking. Throws OsError.
  MessageSocket(Reactor& reactor, UniqueFd socket, MessageSocketObserver& observer);
  ~MessageSocket() override;
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;

  // 1 to kMaxMessage bytes (an empty one would read as the end) and at most kMaxFdsPerMessage fds, else
  // throws OsError(EMSGSIZE). The fds are closed here once they are sent. Never calls the observer from
  // within.
  void send(std::string message, std::vector<UniqueFd> fds = {});
  // True when nothing is queued.
  bool flushed() const { return queue_.empty(); }

 private:
  enum class Stop { drained, budget, gone };
  struct Message {
    std::string bytes;
    std::vector<UniqueFd> fds;
  };

  void on_ready(std::uint32_t events) override;
  Stop receive(bool to_the_end);
  void send_queued();
  void watch();
  void retry_later();
  void schedule(Reactor::Clock::duration delay, void (MessageSocket::*method)());
  void finish_failed();
  void fail(int error);
  void detach();
  void end(int error);

  Reactor& reactor_;
  UniqueFd socket_;
  MessageSocketObserver& observer_;
  Lifetime lifetime_;
  Buffer buffer_;
  std::deque<Message> queue_;
  std::uint32_t watched_ = 0;
  Reactor::TimerId timer_ = 0;
  bool waits_for_kernel_ = false;  // a retry by timer is due, EPOLLOUT would say nothing
  int failed_ = 0;                 // why no more is sent; on_message_end is due
  bool reset_ = false;
  bool detached_ = false;
};

}  // namespace wireup::os
