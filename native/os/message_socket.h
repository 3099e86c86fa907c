// A seqpacket socket on the reactor. It transfers whole messages with fds (SCM_RIGHTS). It queues, without a
// limit, what the socket does not take. It delivers all messages of the peer before it reports the end.
// Threads: the reactor's.
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

// The kernel's SCM_MAX_FD.
inline constexpr std::size_t kMaxFdsPerMessage = 253;
// A message must fit in the socket's send buffer (net.core.wmem_default is 212,992 by default).
inline constexpr std::size_t kMaxMessage = 160 << 10;

class MessageSocketObserver {
 public:
  virtual ~MessageSocketObserver() = default;
  // The fds are CLOEXEC. Nullopt: not all fds fitted under this process's limit of open files, and all have
  // been closed. The observer may destroy the socket.
  virtual void on_message(std::string_view message, std::optional<std::vector<UniqueFd>> fds) = 0;
  // The socket has taken messages that waited. The observer may send, but must not destroy the socket.
  virtual void on_messages_taken() {}
  // Called once, as the last call. `error` is 0 for an orderly end, EMSGSIZE if a message was larger than
  // kMaxMessage, else an errno. The observer may destroy the socket.
  virtual void on_message_end(int error) = 0;
};

class MessageSocket final : Handler {
 public:
  // Makes the socket non-blocking. Throws OsError.
  MessageSocket(Reactor& reactor, UniqueFd socket, MessageSocketObserver& observer);
  ~MessageSocket() override;
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;

  // Sends 1 to kMaxMessage bytes and at most kMaxFdsPerMessage fds, else throws OsError(EMSGSIZE). (An empty
  // message would look like the end of the stream.) Closes the fds when they are sent. Never calls the
  // observer.
  void send(std::string message, std::vector<UniqueFd> fds = {});
  // Whether the socket has taken all messages.
  bool flushed() const { return queue_.empty(); }
  // The bytes of the messages that the socket has not taken.
  std::size_t unsent() const { return unsent_; }

 private:
  enum class Stop { drained, budget, gone };
  struct Message {
    std::string bytes;
    std::vector<UniqueFd> fds;
  };

  void on_ready(std::uint32_t events) override;
  Stop receive(bool to_the_end);
  void send_queued();
  void send_waiting();
  void drop_queue();
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
  std::size_t unsent_ = 0;  // bytes in queue_
  std::uint32_t watched_ = 0;
  Reactor::TimerId timer_ = 0;
  bool waits_for_kernel_ = false;  // a timer will retry, because EPOLLOUT does not help
  int failed_ = 0;                 // errno of sending; on_message_end() is due
  bool reset_ = false;
  bool detached_ = false;
};

}  // namespace wireup::os
