// A parent's end of links over ZeroMQ: one ROUTER socket for all children.
//
// A child proves itself by its key pair (CURVE), or by a password if links are insecure. ZeroMQ asks the hub
// about each peer (ZAP, RFC 27). The hub admits the expected credentials only, and each only until its link
// is up: a second peer with the same credential, such as a replayed start, is refused. ZeroMQ attaches the
// child that the hub has recognised to each message of a connection (User-Id). The hub binds the connection
// (routing id) to that child with its first message, and closes a connection whose messages do not fit. The
// connection of a peer that joins can be adopted as that of a child.
//
// Connections that have sent no message yet cost memory and open files, and any process that reaches the port
// can make them. So the hub keeps kMaxUnbound of them at most, beside those of the expected peers. A new one
// takes the place of the oldest. libzmq accepts connections in its own thread, so it may have more for a
// moment.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "os/reactor.h"
#include "os/zmq_socket.h"
#include "runtime/link.h"
#include "runtime/zmq_link.h"

namespace wireup::runtime {

inline constexpr std::size_t kMaxUnbound = 256;

struct ZmqHubOptions {
  // Numeric, an IPv6 address in brackets. The hub listens on each, on a port that the kernel chooses.
  std::vector<std::string> addresses;
  // Of this parent. Empty: insecure links. Their bytes and passwords are readable on the network.
  os::ZmqKeys keys = {};
  ZmqTiming timing = {};
  // How many may connect at the same time: children, and peers that join.
  std::size_t peers = 1;
};

class ZmqHub {
 public:
  // Throws ZmqMissing, OsError.
  ZmqHub(os::Reactor& reactor, const ZmqHubOptions& options);
  ~ZmqHub();
  ZmqHub(const ZmqHub&) = delete;
  ZmqHub& operator=(const ZmqHub&) = delete;

  // Where the hub listens: "tcp://10.0.0.1:41253".
  const std::vector<std::string>& endpoints() const { return endpoints_; }

  // A link to a child with this credential: its public key, or its password if links are insecure. It must
  // not be destroyed after the hub. `child` must not have a link already.
  std::unique_ptr<ZmqLink> expect(std::uint32_t child, const std::string& credential,
                                  std::function<void()> on_up, LinkObserver& observer);

  // The connection of a peer that joins.
  struct Joiner {
    std::string routing_id;
    int fd = -1;
  };
  // Admits peers with this credential too. The hub passes their messages to `on_join`, which returns false if
  // it refuses one, and sends them only what answer() gets. Null: no such peer is admitted any more.
  // `on_join` must not destroy the hub.
  using OnJoin = std::function<bool(const Joiner& peer, std::string_view message)>;
  void admit_joins(std::string credential, OnJoin on_join);
  void answer(const Joiner& peer, std::string_view message) { router_.send({peer.routing_id, message}); }
  // As expect(), but the connection of `peer` is that of the link. Call it in `on_join` only.
  std::unique_ptr<ZmqLink> adopt(std::uint32_t child, const Joiner& peer, std::function<void()> on_up,
                                 LinkObserver& observer);

  // Connections that ended before they sent a message (unknown or used credentials, broken or incomplete
  // handshakes), and connections that were closed because of a message: without a child, or a refused join.
  std::uint64_t refused() const { return refused_; }

 private:
  class Port;
  struct Child {
    ZmqLink* link;
    std::string user;             // what on_zap() calls it
    std::string credential;       // empty: it is connected from the start
    std::string routing_id = {};  // empty: not connected
    int fd = -1;
    bool gone = false;
  };

  void on_zap(const os::ZmqMessage& request);
  std::string admit(std::string_view mechanism, const os::ZmqMessage& request) const;
  void on_message(const os::ZmqMessage& message);
  using Children = std::map<std::uint32_t, Child>;
  std::unique_ptr<ZmqLink> add(std::uint32_t number, Child child, std::function<void()> on_up,
                               LinkObserver& observer);
  void on_join_message(const os::ZmqMessage& message);
  Children::iterator bind(const os::ZmqMessage& message);
  void bind(Children::iterator child, const std::string& routing_id, int fd);
  void on_event(int event, std::uint32_t value);
  void sweep_later(int turns);
  void sweep(int turns);
  void forget(std::uint32_t child);
  void receive_now();
  void read_events();
  void add_unbound(int fd);
  // Closes connections that have sent nothing, if there are too many of them.
  void close_oldest();
  bool remove_unbound(int fd);
  void refuse(const os::ZmqMessage& message);
  void close_connection(int fd) const;

  os::Reactor& reactor_;
  bool secure_;
  LinkTiming timing_;
  std::shared_ptr<os::ZmqContext> context_;
  os::ZmqSocket zap_;
  os::ZmqSocket router_;
  std::vector<std::string> endpoints_;
  std::set<int> ports_;  // of endpoints_
  Children children_;
  std::string join_credential_;
  OnJoin on_join_;
  std::unordered_map<std::string, std::uint32_t> bound_;  // routing ids
  // By fd: connections that have sent no message yet with their ages, and those of them that have ended. (The
  // last message of such a connection may still arrive.)
  std::unordered_map<int, std::uint64_t> unbound_;
  std::unordered_set<int> closed_;
  // By age: the fds of unbound_ that were not closed to make room.
  std::map<std::uint64_t, int> by_age_;
  std::uint64_t accepted_ = 0;
  std::size_t max_unbound_;
  std::uint64_t refused_ = 0;
  os::Reactor::TimerId sweep_timer_ = 0;
  os::Reactor::TimerId close_timer_ = 0;
  os::Lifetime lifetime_;
};

}  // namespace wireup::runtime
