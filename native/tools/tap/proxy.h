// Passes the bytes between a program and its PMI server on in both directions, unchanged, and shows them to
// an observer.
//
// It behaves like the one connection that it replaces. A half-close passes through. If one side has gone, the
// other one receives what was sent before, and then finds its connection closed. A side that does not read
// stops the other one as soon as the buffers between them are full. The proxy changes no flag of a socket,
// because other processes may share it.
// Threads: one.
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "os/buffer.h"
#include "os/fd.h"
#include "wire/message_splitter.h"

namespace wireup::tap {

class ProxyObserver {
 public:
  virtual ~ProxyObserver() = default;
  // Bytes of that side, before they are passed on.
  virtual void received(wire::Side side, std::string_view bytes) = 0;
  // That side sends no more.
  virtual void ended(wire::Side side) = 0;
};

class Proxy {
 public:
  // Both are connected stream sockets, blocking or not.
  Proxy(os::UniqueFd program, os::UniqueFd server, ProxyObserver& observer);

  // Returns when both sides have ended, and closes both sockets. Throws os::OsError if poll(2) fails.
  void run();

 private:
  // As large as what a stream socket of Linux holds by default would add no speed: messages are small.
  static constexpr std::size_t kBuffer = std::size_t{64} << 10;

  struct Socket {
    os::UniqueFd fd;
    bool gone = false;  // its other end has been closed, and all its bytes have been received
  };

  // The bytes from one side to the other one.
  struct Flow {
    wire::Side side;  // that sends
    Socket& from;
    Socket& to;
    os::Buffer buffer{kBuffer};
    std::size_t begin = 0;
    std::size_t end = 0;
    bool ended = false;     // `from` sends no more
    bool finished = false;  // and `to` has been shown that, or `to` has gone

    bool empty() const { return begin == end; }
  };

  short wanted(const Socket& socket) const;
  void receive(Flow& flow);
  void send(Flow& flow);
  void end(Flow& flow);
  // `to` receives no more: `from` must not be able to send.
  void refuse(Flow& flow);

  ProxyObserver& observer_;
  Socket program_;
  Socket server_;
  std::array<Flow, 2> flows_;
};

}  // namespace wireup::tap
