// A name server: the published names of all launches of one user, behind a unix socket that this user alone
// may use. What a launch has published goes when its connection ends.
//
// The kernel's word on the user (SO_PEERCRED) comes before the first byte is read; who is not our own user,
// or says what no client says, loses its connection and nothing else. Bounded: names (engine::kMaxNames),
// connections (kMaxNameClients, and half of the files that can be opened), what a connection may say at a
// time and what may wait for it to read.
//
// Threads: the reactor's. `on_refusal` may not destroy the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "engine/names.h"
#include "engine/peer.h"
#include "os/listener.h"
#include "os/private_directory.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/server_driver.h"
#include "wire/framer.h"

namespace wireup::runtime {

// Each is a launch.
inline constexpr std::size_t kMaxNameClients = 1024;

// From accept to Hello: enough for a machine that is busy, and then whoever connected has forgotten us.
inline constexpr std::chrono::seconds kNameHello{10};

class NameServer {
 public:
  using OnRefusal = std::function<void(engine::Peer peer, std::string reason)>;

  // `listen`: a unix address or a private parent. Throws os::OsError when it cannot listen.
  NameServer(os::Reactor& reactor, const ListenOptions& listen, OnRefusal on_refusal,
             std::chrono::milliseconds timeout = kNameHello);
  ~NameServer();

  const wire::Address& address() const { return address_; }
  const engine::Names& names() const { return names_; }

 private:
  using ConnectionId = engine::Names::Owner;

  struct Connection final : public os::StreamObserver {
    Connection(NameServer& owner, ConnectionId number, engine::Peer who)
        : server(owner), id(number), peer(std::move(who)) {}
    void on_bytes(os::Stream& stream, std::string_view bytes) override;
    void on_end(os::Stream&, int) override { server.forget(id); }

    NameServer& server;
    ConnectionId id;
    engine::Peer peer;
    std::string kvsname;
    bool known = false;  // it has said Hello
    os::Reactor::TimerId timer = 0;
    wire::FrameFramer framer{wire::names::kMaxFrameToServer};
    std::unique_ptr<os::Stream> stream;
  };

  void accepted(os::UniqueFd socket);
  bool receive(Connection& connection, std::string_view frame);
  bool greet(Connection& connection, const wire::names::Message& message);
  wire::names::Page page(const std::string& after) const;
  void refuse(ConnectionId id, std::string reason);
  void forget(ConnectionId id);

  os::Reactor& reactor_;
  OnRefusal on_refusal_;
  std::chrono::milliseconds timeout_;
  std::size_t room_;
  std::unique_ptr<os::PrivateDirectory> directory_;  // outlives the listener, which unlinks its socket in it
  wire::Address address_;
  std::unique_ptr<os::Listener> listener_;
  engine::Names names_;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections_;
};

}  // namespace wireup::runtime
