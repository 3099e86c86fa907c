// How agents that got the same boot record join a tree over ZeroMQ (wire/boot_record.h).
//
// The root admits peers with the record's join key to its hub, and takes one Join for each host. If the root
// is the parent of that host, it adopts the connection: ZeroMQ encrypts each connection by keys of its own,
// which no other holder of the join key knows. An agent with another parent connects to it with its own key
// pair, whose secret never leaves it. So the record is worthless when all hosts have joined, and an agent
// cannot pretend to be another one later. Threads: the reactor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/reactor.h"
#include "os/zmq_socket.h"
#include "runtime/zmq_hub.h"
#include "runtime/zmq_parent.h"
#include "wire/boot_record.h"

namespace wireup::runtime {

// As many random bits as a key has, in the form of one: what a host of insecure links proves itself by.
std::string make_zmq_password();

// The root's side.
class ZmqJoins {
 public:
  // A host has joined. The root adopts the connection of peer(), or it finds the parent, makes it expect this
  // key, and calls answer().
  using OnJoin = std::function<void(const wire::boot::Join& join)>;

  // Makes the record; `plan` has its `width`, `hosts`, `names` and `iface`. `keys` are those of the hub, and
  // empty if links are insecure. The hub outlives the object. Throws ZmqMissing, OsError.
  ZmqJoins(ZmqHub& hub, const os::ZmqKeys& keys, wire::boot::Record plan, OnJoin on_join);
  ~ZmqJoins();
  ZmqJoins(const ZmqJoins&) = delete;
  ZmqJoins& operator=(const ZmqJoins&) = delete;

  const wire::boot::Record& record() const { return record_; }
  // Of a host that has joined.
  const ZmqHub::Joiner& peer(std::uint32_t host) const { return peers_.at(host); }
  void answer(std::uint32_t host, const wire::boot::Joined& joined);
  // The hosts that have not joined.
  std::vector<std::uint32_t> missing() const;

 private:
  bool take(const ZmqHub::Joiner& peer, std::string_view message);

  ZmqHub& hub_;
  wire::boot::Record record_;
  OnJoin on_join_;
  std::map<std::uint32_t, ZmqHub::Joiner> peers_;  // of hosts that have joined
};

// An agent's side. `host` is one of the record's. `keys` are its own; if links are insecure, `public_key` is
// its password (make_zmq_password()). `endpoints` are those of its own hub; empty: it has no children.
class ZmqJoiner final : ZmqPortObserver {
 public:
  // Until the root has answered at one of its addresses: shorter than the usual limit of a start, so that the
  // reason is reported.
  static constexpr std::chrono::milliseconds kGiveUpJoining{30'000};
  struct Answer {
    std::string error = {};                         // for people; empty: the host has joined
    std::unique_ptr<ZmqParentPort> port = nullptr;  // to the parent; null: `joined` describes it
    wire::boot::Joined joined = {};
  };
  // Once. May destroy the joiner.
  using OnAnswer = std::function<void(Answer answer)>;

  // Throws ZmqMissing, OsError.
  ZmqJoiner(os::Reactor& reactor, const wire::boot::Record& record, std::uint32_t host,
            const os::ZmqKeys& keys, std::vector<std::string> endpoints, const ZmqTiming& timing,
            OnAnswer on_answer, std::chrono::milliseconds give_up = kGiveUpJoining);

 private:
  void on_port_connected() override;
  void on_port_message(std::string_view message) override;
  void on_port_end(LinkEnd why, int error, const std::string& detail) override;

  wire::boot::Join join_;
  bool parent_is_root_;
  OnAnswer on_answer_;
  std::unique_ptr<ZmqParentPort> port_;
};

}  // namespace wireup::runtime
