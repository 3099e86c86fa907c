// A job's PMI server on sockets: engine::ProcessGroup behind a listener and inherited channels. Carries out
// the engine's effects and feeds it bytes, ends and time.
//
// Threads: the reactor's. Events go to `on_event` and queries to `on_spawn_query`, called last in a turn's
// effects; neither may destroy the host.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/process_group.h"
#include "os/listener.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/private_listener.h"
#include "runtime/transport.h"
#include "wire/address.h"

namespace wireup::runtime {

class NameClient;

struct ListenOptions {
  // Where to listen; empty: nowhere, channels only. A TCP host must be an address in digits.
  std::optional<wire::Address> address;
  // TCP: the ports to choose from, the first and the last, where the address says 0.
  std::optional<std::pair<std::uint16_t, std::uint16_t>> ports = {};
  // Instead of an address: a unix socket in a fresh private folder in the first of these where that can be,
  // or under an abstract name.
  std::vector<PrivateParent> private_parents = {};
};

class ServerDriver {
 public:
  using OnEvent = std::function<void(const engine::Event&)>;
  // Whoever is asked answers by answer_spawn(), now or later.
  using OnSpawnQuery = std::function<void(engine::SpawnQuery)>;

  // Without `on_spawn_query` every spawn is refused. With `names`, which outlives the host, that is whom
  // ranks' names are asked of. Throws os::OsError when it cannot listen.
  ServerDriver(os::Reactor& reactor, engine::ProcessGroupOptions options, const ListenOptions& listen,
               OnEvent on_event, OnSpawnQuery on_spawn_query = nullptr, NameClient* names = nullptr);
  ~ServerDriver();

  // Makes the channel of `rank`: keeps one end, returns the one that the rank inherits. Throws os::OsError.
  os::UniqueFd open_channel(std::uint32_t rank);
  // The same with a pair that was made elsewhere: the server's end of it. Throws os::OsError, and
  // std::logic_error when the rank has a connection.
  void adopt_channel(std::uint32_t rank, os::UniqueFd end);
  // Its channel has not been adopted: told and counted as a refusal.
  void reject_channel(std::uint32_t rank, std::string reason);

  // The rank's process has ended.
  void depart(std::uint32_t rank);

  void answer_spawn(engine::QueryId id, const engine::SpawnAnswer& answer);

  // Where it really listens; empty when nowhere.
  const std::optional<wire::Address>& address() const { return address_; }
  // The private folder of its socket; empty where there is none.
  std::string private_folder() const { return directory_ ? directory_->path() : std::string(); }
  const engine::ProcessGroup& group() const { return group_; }

  // Which process a rank is, and which one starts ranks that are not known yet.
  void runs_as(std::uint32_t rank, std::int32_t pid) { group_.runs_as(rank, pid); }
  void started_by(std::int32_t pid) { group_.started_by(pid); }

 private:
  struct Connection final : public os::StreamObserver {
    Connection(ServerDriver& owner, engine::ConnectionId number) : host(owner), id(number) {}
    void on_bytes(os::Stream& stream, std::string_view bytes) override;
    void on_end(os::Stream& stream, int error) override;

    ServerDriver& host;
    engine::ConnectionId id;
    bool closing = false;              // the engine has closed it and forgotten it
    std::optional<os::Stream> stream;  // from new_connection() on
  };

  // Accepted, but there is no place for it yet; the listener is held meanwhile.
  struct Waiting {
    os::UniqueFd socket;
    engine::Peer peer;
  };

  Connection& new_connection(os::UniqueFd socket);
  void listen(const ListenOptions& options);
  os::Listener::OnAccept on_accept();
  void listen_at(const wire::Address& address);
  void accepted(os::UniqueFd socket);
  void admit(os::UniqueFd socket, engine::Peer peer);
  void open_door();
  void ended(Connection& connection, std::string cut_off);
  void apply();
  void ask(engine::NameQuery query);
  void arm_timer();

  os::Reactor& reactor_;
  engine::ProcessGroup group_;
  OnEvent on_event_;
  OnSpawnQuery on_spawn_query_;
  NameClient* names_;
  // Answers about names may come when we have gone.
  std::shared_ptr<void> alive_ = std::make_shared<char>();
  std::unique_ptr<os::PrivateDirectory> directory_;  // outlives the listener, which unlinks its socket in it
  std::unique_ptr<os::Listener> listener_;
  Identify identify_;  // set if there is a listener
  std::optional<wire::Address> address_;
  std::optional<Waiting> at_the_door_;
  os::Reactor::TimerId door_timer_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;  // by ConnectionId
  std::vector<engine::ConnectionId> free_;
  engine::Effects effects_;
  os::Reactor::TimerId timer_ = 0;
  std::optional<engine::TimePoint> timer_due_;
};

}  // namespace wireup::runtime
