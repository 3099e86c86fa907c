// One process group as its PMI server sees it: layout, key-value space, barriers, names, the state of every
// rank, and a session on every connection. Each session uses the version of PMI that its client requests.
// Inputs are bytes and events, outputs are effects. There is no I/O, clock, thread or global.
//
// The driver calls open_channel() or accept() for each connection, receive() for the bytes that it reads, and
// eof() at the end of the connection, after the last bytes. It calls tick(now) at deadline() or later.
// Spawns, and names if ProcessGroupOptions::names_elsewhere is set, are queries, which the driver answers
// later by answer_spawn() and answer_name().
//
// A process group may have ranks on several hosts. Each host then has a ProcessGroup, with the sessions of
// its own ranks; the other ranks are elsewhere (ProcessGroupOptions::elsewhere). A put is visible on its host
// at once, and on the others after the next barrier of all ranks. That barrier is a FenceQuery when all ranks
// that are here have entered it, and ends by finish_fence(). If ranks of several hosts put the same key
// before the same barrier, which RFC 13 forbids, the hosts may have different values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/auth.h"
#include "engine/barrier.h"
#include "engine/counters.h"
#include "engine/effects.h"
#include "engine/kvs.h"
#include "engine/layout.h"
#include "engine/limits.h"
#include "engine/names.h"
#include "engine/node_attributes.h"
#include "engine/peer.h"
#include "engine/space.h"
#include "engine/time.h"

namespace wireup::engine {

class ServerSession;

enum class RankState : std::uint8_t {
  absent,        // it has never connected
  connected,     // its connection is identified, and init has not arrived yet
  initialized,   // between init and finalize
  finalized,     // it has sent finalize
  disconnected,  // its connection has ended without finalize
};

struct ProcessGroupOptions {
  std::string kvsname;  // at most kMaxKvsname - 1 bytes
  Layout layout = Layout::single_node(1);
  // By rank: it has no session here, because it is on another host. Empty: all ranks are here. A node must be
  // on one host.
  std::vector<bool> elsewhere = {};
  std::optional<std::uint32_t> universe_size;  // empty: the size of the process group
  // Reply 1.2 to every PMI-1 client, even if it requests 1.1. MPICH's newest client requests 1.1 and uses 1.2
  // if the reply has it.
  bool offer_1_2 = false;
  // Do what RFC 13 demands, where the server otherwise does what its clients expect: an invalid message ends
  // its connection, and PMI_process_mapping is empty if it does not fit.
  bool strict = false;
  // Report each rank that enters the barrier of all ranks (EventType::entered), of so many barriers.
  std::uint64_t reported_entries = 0;
  // May be shared with other process groups. Null: the process group has its own.
  std::shared_ptr<Names> names = {};
  // Do not use `names`; every request about names is a query to the driver.
  bool names_elsewhere = false;
  // The memory limit of keys and values, which may be shared with other process groups. Null: the process
  // group has its own, of kDefaultSpace. The server's own keys and `preput` count, but are stored even if the
  // space is full.
  std::shared_ptr<Space> space = {};
  // Only if the process group was spawned: the kvsname of the process group that spawned it, and the keys
  // that exist from the start.
  std::string spawner = {};
  KeyValues preput = {};
  AuthPolicy auth;  // PMI_IDs of ranks that are elsewhere must be empty

  bool is_elsewhere(std::uint32_t rank) const { return !elsewhere.empty() && elsewhere[rank]; }
};

// Ranks may have thousands of barriers in progress. A status lists this many.
inline constexpr std::size_t kMaxReportedGroupBarriers = 64;

struct ProcessGroupStatus {
  std::vector<RankState> ranks;  // of those that are here, in the order of ranks
  BarrierStatus barrier;
  // Barriers of groups whose members are all here: the first kMaxReportedGroupBarriers, and their number
  // without that limit.
  std::vector<GroupBarrierStatus> group_barriers = {};
  std::uint64_t open_group_barriers = 0;
  std::uint64_t kvs_entries = 0;
  std::uint64_t rejected = 0;      // refused connections
  std::uint64_t unidentified = 0;  // connections that have not identified themselves yet
};

class ProcessGroup {
 public:
  // Throws std::invalid_argument if a text in the options cannot be sent in both versions of PMI or exceeds
  // its limit, if there are more PMI_IDs than ranks, if two are equal, or if `elsewhere` is wrong.
  explicit ProcessGroup(ProcessGroupOptions options);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Adds a channel, a connection that the rank inherits (PMI_FD) and that therefore needs no PMI_ID. Throws
  // std::logic_error if the rank has a connection or is elsewhere, or if the id is in use. These are mistakes
  // of the driver.
  void open_channel(ConnectionId connection, std::uint32_t rank);

  // Until when the driver must not accept() the connection; see Authenticator::busy_until().
  std::optional<TimePoint> busy_until(const Peer& peer, TimePoint now) const {
    return auth_.busy_until(peer, now);
  }
  // Adds a connection to the listener. If the peer is not allowed, this reports `rejected` and closes the
  // connection. Otherwise the connection must identify itself by initack before the handshake deadline.
  void accept(ConnectionId connection, Peer peer, TimePoint now, Effects& effects);

  // Reports and counts a refused connection. The driver calls it for a connection that it refuses before
  // accept() or open_channel(). `rank`: the rank of the channel, if it was one.
  void reject(const Peer& peer, Refusal kind, std::string reason, Effects& effects, std::int32_t rank = -1);

  // The rank of a connection; empty: it has not identified itself, or the engine has forgotten it.
  std::optional<std::uint32_t> rank_of(ConnectionId connection) const;

  // Bytes of a connection that the engine has closed are ignored.
  void receive(ConnectionId connection, std::string_view bytes, Effects& effects);

  // The connection has ended. `cut_off`: why the driver closed it; empty: the peer closed it. If the rank
  // waits in a barrier, it leaves it, so the barrier cannot complete without it.
  void eof(ConnectionId connection, Effects& effects, std::string cut_off = {});

  // The rank's process has ended, so no further request comes from the rank. (Its connection may still be
  // open in a child process.) If a launcher starts the ranks and they may reconnect, a rank that has
  // finalized leaves only by this call. If the rank is elsewhere, the driver calls it when the rank has left
  // in any way.
  void depart(std::uint32_t rank, Effects& effects);
  // The rank has connected again. For ranks that are elsewhere; the engine knows it of the others.
  void come_back(std::uint32_t rank);
  // For AuthPolicy::descendants_only: the process of a rank, and the process that starts the ranks whose
  // process is not known yet.
  void runs_as(std::uint32_t rank, std::int32_t pid) { auth_.runs_as(rank, pid); }
  void started_by(std::int32_t pid) { auth_.started_by(pid); }

  // Answers a query. Does nothing if the connection has ended. The spawn fails if the kvsname cannot be sent,
  // or if the number of error codes is not the number of processes.
  void answer_spawn(QueryId id, const SpawnAnswer& answer, Effects& effects);

  // The same for names. A look-up fails if the port cannot be sent to the rank.
  void answer_name(QueryId id, const NameAnswer& answer, Effects& effects);

  // The same for a BarrierQuery. If the barrier is not complete, `gone` is a member that has left.
  void answer_barrier(QueryId id, bool complete, std::uint32_t gone, Effects& effects);

  // The barrier of the FenceQuery with this number is complete. `keys` are those of the other hosts, in the
  // form of wire/key_values.h. They are stored even if the space is full. Returns why the call is invalid,
  // and has changed nothing then; empty: it is valid.
  std::string finish_fence(std::uint64_t number, std::string keys, Effects& effects);

  void tick(TimePoint now, Effects& effects);
  std::optional<TimePoint> deadline() const;

  const ProcessGroupOptions& options() const { return options_; }
  std::uint32_t size() const { return options_.layout.size(); }
  RankState rank_state(std::uint32_t rank) const { return ranks_[rank].state; }
  ProcessGroupStatus status() const;
  const Barrier& barrier() const { return barrier_; }
  // The driver adds what it alone knows: the bytes that it sends, and how long barriers take.
  Counters& counters() { return counters_; }
  const Counters& counters() const { return counters_; }
  // The memory of keys and values in the space, of all process groups that share it.
  std::uint64_t space_used() const { return options_.space->used(); }
  // The ranks that will enter no barrier any more, in the order in which they left: they have finalized, were
  // lost, or their process has ended.
  const std::vector<std::uint32_t>& departed() const { return departed_; }

 private:
  friend class ServerSession;

  struct Rank {
    RankState state = RankState::absent;
    std::optional<ConnectionId> connection;
    bool departed = false;        // it will enter no barrier any more
    bool passed_barrier = false;  // it has completed a barrier
    bool again = false;           // its connection is not its first
    bool aborted = false;
  };
  // Queries whose answers are still to come.
  struct PendingSpawn {
    ConnectionId connection;
    std::string thrid;
    std::uint64_t processes;
  };
  struct PendingName {
    ConnectionId connection;
    std::string thrid;
    wire::MessageId reply;
  };
  struct PendingBarrier {
    ConnectionId connection;
    std::uint32_t rank;
    wire::BarrierGroup group;
  };

  ServerSession* find(ConnectionId connection) const;
  ServerSession& add(ConnectionId connection, std::unique_ptr<ServerSession> session);

  // For ServerSession.
  void connected(std::uint32_t rank, ConnectionId connection);
  // True if a rank that connects again resumes where it was. Other ranks rely on what it published before its
  // last barrier, so it must not start anew.
  bool resumes(std::uint32_t rank) const;
  Barrier::Entry enter_barrier(std::uint32_t rank, Effects& effects);
  // `text`: the group as the rank has sent it.
  GroupBarriers::Result enter_group(std::uint32_t rank, const wire::BarrierGroup& group,
                                    std::string_view text, Effects& effects);
  bool has_members_elsewhere(const wire::BarrierGroup& group) const;
  // Replies to the connections that have waited for a node attribute.
  void answer_waiters(const std::vector<NodeAttributes::Waiter>& waiters, std::string_view value,
                      Effects& effects);
  void ask_spawn(std::uint32_t rank, ConnectionId connection, std::string_view thrid, SpawnRequest request,
                 Effects& effects);
  void ask_name(std::uint32_t rank, ConnectionId connection, std::string_view thrid, wire::MessageId reply,
                NameRequest request, Effects& effects);
  // Ends the barrier of all ranks.
  void release_all(Effects& effects);
  // Sends the reply to the ranks inside.
  void send_releases(Effects& effects);
  // Removes what the connection waits for, because there will be no reply.
  void forget_deferred(std::uint32_t rank, ConnectionId connection);
  // The rank's connection has ended, by the peer or by the server.
  void rank_disconnected(std::uint32_t rank, std::string cut_off, Effects& effects);
  void finalized(std::uint32_t rank, Effects& effects);
  // Reports `stuck` if the barrier can no longer complete. Called after every event that may cause that.
  void report_if_stuck(Effects& effects);

  ProcessGroupOptions options_;
  SpaceShare share_;
  Kvs kvs_;
  Barrier barrier_;
  GroupBarriers groups_;                  // those whose members are all here
  GroupBarriers groups_elsewhere_;        // the others: the ranks that wait for the answer to a BarrierQuery
  std::vector<std::uint32_t> elsewhere_;  // the ranks, ascending
  NodeAttributes attributes_;
  Names::Owner name_owner_;
  QueryId last_query_ = 0;
  std::unordered_map<QueryId, PendingSpawn> spawn_queries_;
  std::unordered_map<QueryId, PendingName> name_queries_;
  std::unordered_map<QueryId, PendingBarrier> barrier_queries_;
  Authenticator auth_;
  std::vector<Rank> ranks_;
  std::vector<std::uint32_t> departed_;
  bool stuck_reported_ = false;
  bool full_reported_ = false;                            // an event has reported that the space is full
  std::vector<std::unique_ptr<ServerSession>> sessions_;  // by ConnectionId
  Counters counters_;
};

}  // namespace wireup::engine
