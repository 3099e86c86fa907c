// The interface between the event loop and the system calls that receive from stream sockets and send to
// them. It has two implementations: PlainSockets makes one system call per socket, and IoUringSockets makes
// one for many sockets. SocketBackendChoice selects one of them for each turn of the loop.
//
// The reactor calls begin_turn() and end_turn(). Streams call the other methods.
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace wireup::os {

struct Received {
  std::string_view bytes = {};  // empty without an error: the peer has closed the stream
  int error = 0;                // errno; EAGAIN: nothing to read now
  bool full = false;            // the bytes fill the buffer, so the socket may have more
};

struct Sent {
  std::size_t size = 0;  // bytes that the socket took; fewer than given if it is full
  int error = 0;         // errno of a connection that has failed, else 0
};

// Calls send(2) until the socket has taken all bytes, is full, or has failed. `socket` is non-blocking.
Sent send_now(int socket, std::string_view bytes);

class SocketBackend {
 public:
  // A socket whose bytes a backend may send at the end of the turn.
  class Sender {
   public:
    virtual int fd() const = 0;
    // All bytes that wait. They must not change or move before the backend calls on_sent().
    virtual std::string_view unsent() const = 0;
    // The backend has tried to send unsent(), once. Must not destroy a sender, and must not call the backend.
    virtual void on_sent(Sent sent) = 0;

   protected:
    ~Sender() = default;
  };

  // Readable sockets in one turn. More would save few system calls, and with a thousand ranks the data of a
  // turn would leave the processor's cache before it is used again (docs/performance.md).
  static constexpr std::size_t kMostReadable = 32;

  // A sender whose waiting bytes would become more than this sends them at once. A socket's send buffer is
  // about three times as large (net.core.wmem_default).
  static constexpr std::size_t kMostWaitingBytes = 64 << 10;

  virtual ~SocketBackend() = default;

  // Starts a turn. `readable` holds the stream sockets that can be read, in the order in which the loop calls
  // their handlers.
  virtual void begin_turn(std::span<const int> readable) = 0;
  // Sends everything that waits. Calls on_sent() of every sender that waits.
  virtual void end_turn() = 0;

  // Like recv(2) of at most `most` bytes, or more if the backend has already received them in this turn. The
  // bytes are valid until the next call, or until the calling handler returns.
  virtual Received receive(int socket, std::size_t most) = 0;

  // Sends `bytes` now and returns the result; or returns nothing, and the sender waits: it adds `bytes` to
  // what unsent() returns, and the backend sends them at the end of the turn at the latest. It may also send
  // the waiting bytes of other senders, and then calls their on_sent(). `sender` itself must not wait.
  virtual std::optional<Sent> send(Sender& sender, std::string_view bytes) = 0;
  // A sender that waits does not wait any longer. Its bytes have not been sent.
  virtual void withdraw(Sender& sender) = 0;

  // The loop no longer watches this socket: discards what has been received from it in this turn. A new
  // socket may get the same number.
  virtual void discard(int socket) = 0;
};

}  // namespace wireup::os
