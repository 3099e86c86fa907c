// A name server: keeps the published names of all launches of one user, and listens on a unix socket that
// only this user may use. The names of a launch are removed when its connection ends.
//
// The server asks the kernel for the peer's user (SO_PEERCRED) before it reads a byte. It closes the
// connection of another user, and of a client that sends a malformed message. These numbers are bounded:
// names (engine::kMaxNames), connections (kMaxNameClients, and half of the files that can be opened), the
// size of a message, and the bytes that wait for a slow reader.
//
// Threads: the reactor's.
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

// Connections; each is one launch.
inline constexpr std::size_t kMaxNameClients = 1024;

// The time from accept to Hello. It is enough for a busy machine.
inline constexpr std::chrono::seconds kNameHello{10};

class NameServer {
 public:
  // Must not destroy the server.
  using OnRefusal = std::function<void(engine::Peer peer, std::string reason)>;

  // `listen` has a unix address or private parents. Throws os::OsError if the server cannot listen.
  NameServer(os::Reactor& reactor, const ListenOptions& listen, OnRefusal on_refusal,
             std::chrono::milliseconds timeout = kNameHello);
  ~NameServer();

  const wire::Address& address() const { return address_; }
  const engine::Names& names() const { return names_; }

 private:
  using ConnectionId = engine::Names::Owner;

  struct Connection final : public os::StreamObserver {
    Connection(NameServer& name_server, ConnectionId number, engine::Peer client)
        : server(name_server), id(number), peer(std::move(client)) {}
    void on_bytes(os::Stream& stream, std::string_view bytes) override;
    void on_end(os::Stream&, int) override { server.forget(id); }

    NameServer& server;
    ConnectionId id;
    engine::Peer peer;
    std::string kvsname;
    bool known = false;  // it has sent Hello
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
  PrivateFolder folder_;  // outlives the listener, which unlinks its socket in it
  wire::Address address_;
  std::unique_ptr<os::Listener> listener_;
  engine::Names names_;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections_;
};

}  // namespace wireup::runtime
