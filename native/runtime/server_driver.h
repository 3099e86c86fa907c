// The PMI server of a process group: connects an engine::ProcessGroup to a listener and to inherited
// channels. It passes the bytes, the ends of connections and the time to the engine, and carries out the
// effects.
//
// Threads: the reactor's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/process_group.h"
#include "os/listener.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/group_trace.h"
#include "runtime/private_listener.h"
#include "runtime/transport.h"
#include "wire/address.h"

namespace wireup::runtime {

struct ListenOptions {
  // Where to listen; empty: nowhere, ranks have channels only. A TCP host must be numeric.
  std::optional<wire::Address> address;
  // The first and the last port to try, for a TCP address with port 0.
  std::optional<std::pair<std::uint16_t, std::uint16_t>> ports = {};
  // If not empty, used instead of the address: a private socket, in `folder`. Null: in a folder of its own.
  std::vector<PrivateParent> private_parents = {};
  std::shared_ptr<PrivateFolder> folder = {};
  std::string socket_name{os::kSocketName};
};

// Called after the bytes of an input have been sent, in the order of what happened. A callback must not
// destroy the driver. A query is answered during the callback or later.
struct ServerCallbacks {
  std::function<void(const engine::Event&)> on_event;
  // Answered by answer_spawn(). If it is empty, every spawn is refused.
  std::function<void(engine::SpawnQuery)> on_spawn_query = {};
  // Answered by answer_name(). If it is empty, names are in ProcessGroupOptions::names.
  std::function<void(engine::NameQuery)> on_name_query = {};
  // Answered by finish_fence() and answer_barrier(). If one of them is empty, no rank may be elsewhere.
  std::function<void(engine::FenceQuery)> on_fence = {};
  std::function<void(engine::BarrierQuery)> on_barrier_query = {};
};

// The process group's part of a recording.
struct Traced {
  std::shared_ptr<Trace> trace = {};  // null: nothing is recorded
  std::uint32_t number = 0;           // of the process group
};

class ServerDriver {
 public:
  // Throws os::OsError if it cannot listen, and std::invalid_argument for options that the engine refuses or
  // that need a callback that is empty.
  ServerDriver(os::Reactor& reactor, engine::ProcessGroupOptions options, const ListenOptions& listen,
               ServerCallbacks callbacks, const Traced& traced = {});
  ~ServerDriver();

  // Makes the channel of `rank` and returns the end that the rank inherits. Throws os::OsError.
  os::UniqueFd open_channel(std::uint32_t rank);
  // Takes the server's end of a channel that was made elsewhere. Throws os::OsError, and std::logic_error if
  // the rank has a connection.
  void adopt_channel(std::uint32_t rank, os::UniqueFd end);
  // Reports and counts a refusal: the channel was not adopted.
  void reject_channel(std::uint32_t rank, std::string reason);

  // See engine::ProcessGroup.
  void depart(std::uint32_t rank);
  void come_back(std::uint32_t rank) { group_.come_back(rank); }

  void answer_spawn(engine::QueryId id, const engine::SpawnAnswer& answer);
  void answer_name(engine::QueryId id, const engine::NameAnswer& answer);
  void answer_barrier(engine::QueryId id, bool complete, std::uint32_t gone);
  std::string finish_fence(std::uint64_t number, std::string keys);
  // Passes on what the trace has recorded. The driver is to be destroyed.
  void finish_trace();

  // Where it listens, with the port that the kernel has chosen; empty if nowhere.
  const std::optional<wire::Address>& address() const { return address_; }
  const engine::ProcessGroup& group() const { return group_; }

  // Reports to the engine which process a rank is, and which process starts the others.
  void runs_as(std::uint32_t rank, std::int32_t pid) { group_.runs_as(rank, pid); }
  void started_by(std::int32_t pid) { group_.started_by(pid); }

 private:
  struct Connection final : public os::StreamObserver {
    Connection(ServerDriver& server, engine::ConnectionId number) : driver(server), id(number) {}
    void on_bytes(os::Stream& stream, std::string_view bytes) override;
    void on_end(os::Stream& stream, int error) override;

    ServerDriver& driver;
    engine::ConnectionId id;
    bool closing = false;              // the engine has closed the connection and forgotten it
    bool special = false;              // it is closing, or is recorded
    std::optional<os::Stream> stream;  // set by new_connection()
  };

  // A connection that was accepted but has no place yet. The listener is held meanwhile, for all sources: the
  // kernel's backlog has the connections of all sources in one order, so the next source's connection can be
  // reached only by accepting those before it, and each of these would need a place or be refused, although
  // it may be a rank. The hold is short: it ends when the oldest unidentified connection is
  // AuthPolicy::eviction_age old (250 ms), and only peers that may connect at all take places.
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
  void receive_special(Connection& connection, std::string_view bytes);
  void ended(Connection& connection, std::string cut_off);
  void apply();
  void report(engine::Effect& effect);
  void arm_timer();
  void begin_barrier();
  void time_barrier();

  os::Reactor& reactor_;
  engine::ProcessGroup group_;
  std::unique_ptr<GroupTrace> trace_;  // null: nothing is recorded
  ServerCallbacks callbacks_;
  std::shared_ptr<PrivateFolder> folder_;  // outlives the listener, which unlinks its socket in it
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
  std::optional<engine::TimePoint> barrier_since_;  // when the first rank inside has entered
};

}  // namespace wireup::runtime
