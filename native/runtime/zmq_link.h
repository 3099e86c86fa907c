// A link over ZeroMQ. Each end has a port that carries messages of at most kMaxZmqMessage bytes: ZmqHub has
// the ports of a parent, one for each child; ZmqParent is the port of a child.
//
// The first byte of a message is its kind:
//
//   d   the next bytes of the sender's stream (wire/link_framer.h: a greeting, then frames)
//   c   credit: the sender has processed so many more (32 bits, little-endian)
//   h   a heartbeat (runtime/heartbeats.h)
//   b   the sender closes the link
//
// Without credit a side sends at most kZmqWindow. A message counts for its size, and for kMinZmqCost at
// least, so that many small messages cannot take more memory. So a parent needs at most kZmqWindow of memory
// for each child that is slower or faster than it.
//
// The child sends its greeting when its port is connected, and the parent replies. Then the link is up.
// Packets that were sent before are queued until then. From then on both sides send heartbeats, and the link
// ends if the peer is silent. The child waits for the parent's reply only so long, too. libzmq's own
// heartbeats are those of its thread, which runs even if the peer's loop hangs: they end connections that are
// no link yet.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/lifetime.h"
#include "os/zmq_socket.h"
#include "runtime/heartbeats.h"
#include "runtime/link.h"
#include "wire/link_framer.h"

namespace wireup::runtime {

inline constexpr std::size_t kMaxZmqMessage = 64 << 10;
inline constexpr std::size_t kZmqWindow = 1 << 20;
inline constexpr std::size_t kMinZmqCost = 4 << 10;

struct ZmqTiming {
  LinkTiming link = {};
  // libzmq's heartbeats. A link notices the silence of its peer earlier, and reports it.
  int ping_ms = 1000;
  int pong_ms = 9000;
  int handshake_ms = 5000;
};

// Sets what all sockets of links have: limits, libzmq's heartbeats.
void set_up_link(os::ZmqSocket& socket, const ZmqTiming& timing);

// Its destructor closes it.
class ZmqPort {
 public:
  virtual ~ZmqPort() = default;
  // If it fails, the end is reported later.
  virtual void send(std::string_view message) = 0;
  // Passes on now what has arrived. May destroy the port.
  virtual void receive_now() = 0;
};

// Each call may destroy the port.
class ZmqPortObserver {
 public:
  virtual ~ZmqPortObserver() = default;
  // The port can send. Not for the ports of a hub, which wait for the child's first message.
  virtual void on_port_connected() = 0;
  virtual void on_port_message(std::string_view message) = 0;
  // Once, as the last call.
  virtual void on_port_end(LinkEnd why, int error, const std::string& detail) = 0;
};

class ZmqLink final : public Link, public ZmqPortObserver, HeartbeatObserver {
 public:
  enum class Side : std::uint8_t { parent, child };
  // `on_up` is called once, when the link is up. It may destroy the link.
  ZmqLink(os::Reactor& reactor, Side side, const LinkTiming& timing, std::function<void()> on_up,
          LinkObserver& observer);
  ~ZmqLink() override;
  ZmqLink(const ZmqLink&) = delete;
  ZmqLink& operator=(const ZmqLink&) = delete;

  // Call it first, once.
  void attach(std::unique_ptr<ZmqPort> port) { port_ = std::move(port); }
  // Each may destroy the link.
  void on_port_connected() override;
  void on_port_message(std::string_view message) override;
  void on_port_end(LinkEnd why, int error, const std::string& detail) override;

  void send(std::string packet, std::vector<os::UniqueFd> fds = {}) override;
  bool carries_fds() const override { return false; }
  // The bytes for which there is no credit yet.
  std::size_t unsent() const override { return unsent_; }
  bool up() const { return up_; }
  // Stops passing packets on, so that the peer gets no credit, or goes on.
  void hold(bool on);

 private:
  void queue(std::string bytes);
  void flush();
  void flush_waiting();
  bool deliver_kept(bool although_held);
  bool process(std::string_view message);
  bool parse(std::string_view bytes);
  bool on_greeting();
  void on_heartbeat_due() override;
  void receive_now() override { port_->receive_now(); }
  void on_silence() override;
  void end(LinkEnd why, int error, const std::string& detail);

  Side side_;
  LinkTiming timing_;
  std::function<void()> on_up_;
  LinkObserver& observer_;
  os::Lifetime lifetime_;
  std::unique_ptr<ZmqPort> port_;
  Heartbeats heartbeats_;
  wire::LinkFramer framer_;
  std::deque<std::string> queue_;
  std::deque<std::string> waiting_;  // packets, until the link is up
  std::size_t sent_ = 0;             // of queue_.front()
  std::size_t unsent_ = 0;           // bytes of both
  std::size_t window_ = kZmqWindow;  // what may still be sent
  std::size_t arrived_ = 0;          // what has arrived without credit
  std::size_t processed_ = 0;        // of it, what is processed
  std::deque<std::string> kept_;     // what has arrived while held
  bool held_ = false;
  bool processing_ = false;
  bool up_ = false;
  bool ended_ = false;
};

}  // namespace wireup::runtime
