// Sockets of libzmq on the reactor.
//
// libzmq's own thread does the network I/O. ZMQ_FD is edge-triggered: it becomes readable when the state of
// the socket changes, and any call on the socket may consume that. So after each send and each limited turn
// of receiving, the socket looks at ZMQ_EVENTS again, in the next turn of the loop.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/lifetime.h"
#include "os/reactor.h"
#include "os/zmq_library.h"

namespace wireup::os {

// Z85 text, 40 characters each.
struct ZmqKeys {
  std::string public_key;
  std::string secret_key;
};

// Throws ZmqMissing if there is no library, or if it cannot encrypt and authenticate (CURVE) and `curve` is
// set.
void require_zmq(bool curve);
// A new key pair. Throws ZmqMissing.
ZmqKeys make_zmq_keys();
// The pair of a secret key. Throws ZmqMissing, and OsError(EINVAL) if it is no key.
ZmqKeys zmq_keys_of(const std::string& secret_key);

// libzmq's threads and state. The sockets hold it. The last owner waits until unsent messages are sent, at
// most for kLingerMs.
class ZmqContext {
 public:
  static constexpr int kLingerMs = 1000;
  ZmqContext();  // throws ZmqMissing, OsError
  ~ZmqContext();
  ZmqContext(const ZmqContext&) = delete;
  ZmqContext& operator=(const ZmqContext&) = delete;
  void* get() const { return context_; }

 private:
  void* context_;
};

struct ZmqPart {
  std::string bytes;
  std::string user_id;  // what the ZAP handler has called the peer
  int fd = -1;          // of the peer's connection, as in a monitor's events; -1: not known
};
using ZmqMessage = std::vector<ZmqPart>;

class ZmqSocket final : Handler {
 public:
  // The socket may be destroyed in it.
  using OnMessage = std::function<void(ZmqMessage& message)>;

  // `type`: kZmqPair and so on. Throws OsError.
  ZmqSocket(Reactor& reactor, std::shared_ptr<ZmqContext> context, int type, OnMessage on_message);
  ~ZmqSocket() override;
  ZmqSocket(const ZmqSocket&) = delete;
  ZmqSocket& operator=(const ZmqSocket&) = delete;

  // These throw OsError.
  void set(int option, int value);
  void set(int option, std::string_view value);
  void set_max_message_size(std::int64_t bytes);
  void bind(const std::string& endpoint);
  void unbind(const std::string& endpoint);
  void connect(const std::string& endpoint);
  std::string last_endpoint();

  // Sends one message of these parts without waiting. Returns 0 or an errno, then nothing was sent.
  int send(std::initializer_list<std::string_view> parts);
  // Receives now what has arrived. Returns false if the socket was destroyed.
  bool receive();
  // Whether a message waits.
  bool readable();

  // Events of this socket, as bits of `events`; `value` is what zmq_socket_monitor(3) lists: an fd or an
  // error. Throws OsError.
  using OnEvent = std::function<void(int event, std::uint32_t value)>;
  void monitor(int events, OnEvent on_event);
  // Whether an event waits to be reported.
  bool has_events() { return monitor_ && monitor_->readable(); }
  // Reports now the events that have come, a limited number of them.
  void receive_events() {
    if (monitor_) monitor_->receive();
  }

 private:
  void on_ready(std::uint32_t events) override;
  void look_later();

  Reactor& reactor_;
  const ZmqLibrary& library_;
  std::shared_ptr<ZmqContext> context_;
  OnMessage on_message_;
  void* socket_;
  int fd_ = -1;
  Reactor::TimerId timer_ = 0;
  Lifetime lifetime_;
  std::unique_ptr<ZmqSocket> monitor_;
};

}  // namespace wireup::os
