// One parallel job as its PMI server knows it: layout, key-value space, barriers, names, the state of every
// rank and the session on every connection, whichever version of PMI each speaks. Bytes and events in,
// effects out; no I/O, clock, thread or global.
//
// The host calls open_channel() or accept() for a connection, then receive() for what it reads and eof() at
// its end (after the last bytes: drain first). Time is an input: tick(now) at or after deadline().
// A spawn is a query to the host, which answers it later: answer_spawn(); so are names, where
// ProcessGroupOptions says so: answer_name().
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
  absent,        // never connected
  connected,     // its connection is known, no init yet
  initialized,   // between init and finalize
  finalized,     // said finalize
  disconnected,  // its connection ended without finalize
};

struct ProcessGroupOptions {
  std::string kvsname;  // at most kMaxKvsname - 1 bytes
  Layout layout = Layout::single_node(1);
  std::optional<std::uint32_t> universe_size;  // absent: the job's own size
  // Answer every PMI-1 client with 1.2, not only one that says so itself: MPICH's newest client says 1.1, and
  // uses 1.2 where the answer offers it.
  bool offer_1_2 = false;
  // Shared with other jobs; null: names of its own.
  std::shared_ptr<Names> names = {};
  // Instead: what ranks do with names is a query to the host.
  bool names_elsewhere = false;
  // What its keys and values may take, shared with other jobs; null: kDefaultSpace of its own. The server's
  // own keys, and `preput`, count in it and are there in any case.
  std::shared_ptr<Space> space = {};
  // Of a job that another one has spawned: that one's kvsname, and the keys that are there from the start.
  std::string spawner = {};
  KeyValues preput = {};
  AuthPolicy auth;
};

// Ranks may have thousands open: a status tells of so many.
inline constexpr std::size_t kMaxGroupBarriersTold = 64;

struct ProcessGroupStatus {
  std::vector<RankState> ranks;
  BarrierStatus barrier;
  std::vector<GroupBarrierStatus> group_barriers = {};  // the first kMaxGroupBarriersTold of them
  std::uint64_t open_group_barriers = 0;                // all
  std::uint64_t kvs_entries = 0;
  std::uint64_t rejected = 0;
  std::uint64_t unidentified = 0;  // connections whose rank is not known yet
};

class ProcessGroup {
 public:
  // Throws std::invalid_argument: a kvsname that no message can carry, more pmi_ids than ranks, a pmi_id
  // given twice.
  explicit ProcessGroup(ProcessGroupOptions options);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // A pre-connected channel whose inheritance proves the rank (PMI_FD). Throws std::logic_error when the rank
  // has a connection, or the id is in use: both are the host's mistakes, not a peer's.
  void open_channel(ConnectionId connection, std::uint32_t rank);

  // Until when the host keeps a connection waiting before it says accept(); see Authenticator::busy_until().
  std::optional<TimePoint> busy_until(const Peer& peer, TimePoint now) const {
    return auth_.busy_until(peer, now);
  }
  // Somebody connected to the listener. Refused at once (a `rejected` event and Close) when the peer's
  // identity is not allowed; otherwise it must prove its rank by initack before the handshake deadline.
  void accept(ConnectionId connection, Peer peer, TimePoint now, Effects& effects);

  // Tells and counts that somebody was refused. The host calls it for who does not get as far as accept() or
  // open_channel(); `rank` is then the one whose channel it was.
  void reject(const Peer& peer, std::string reason, Effects& effects, std::int32_t rank = -1);

  // Bytes of a connection that the engine has closed meanwhile are dropped.
  void receive(ConnectionId connection, std::string_view bytes, Effects& effects);

  // The peer hung up (`cut_off` is empty), or the host has cut the connection off: why. A rank that waits in
  // a barrier leaves it: a barrier is never completed on behalf of one that has gone.
  void eof(ConnectionId connection, Effects& effects, std::string cut_off = {});

  // The host knows that nothing more will come from this rank: its process has ended. Its connection may be
  // open still, in a child of it. Where a launcher starts the ranks and they may reconnect, a rank that has
  // finalized leaves only with that.
  void depart(std::uint32_t rank, Effects& effects);
  // Which process a rank is, and which one starts those that are not known yet, for
  // AuthPolicy::descendants_only.
  void runs_as(std::uint32_t rank, std::int32_t pid) { auth_.runs_as(rank, pid); }
  void started_by(std::int32_t pid) { auth_.started_by(pid); }

  // The answer to a query. Nothing comes of it when the connection of who asked is gone; a kvsname that
  // cannot be said, or codes that are not one for each process, fail the spawn.
  void answer_spawn(QueryId id, const SpawnAnswer& answer, Effects& effects);

  // The same; a port that the rank cannot be told fails the look-up.
  void answer_name(QueryId id, const NameAnswer& answer, Effects& effects);

  void tick(TimePoint now, Effects& effects);
  std::optional<TimePoint> deadline() const;

  const ProcessGroupOptions& options() const { return options_; }
  std::uint32_t size() const { return options_.layout.size(); }
  RankState rank_state(std::uint32_t rank) const { return ranks_[rank].state; }
  ProcessGroupStatus status() const;
  const Barrier& barrier() const { return barrier_; }
  // Ranks that will enter no barrier any more, in the order in which they left: those that finalized, that
  // were lost, or whose process has ended.
  const std::vector<std::uint32_t>& departed() const { return departed_; }

 private:
  friend class ServerSession;

  struct Rank {
    RankState state = RankState::absent;
    std::optional<ConnectionId> connection;
    bool departed = false;
    bool in_barrier = false;  // has been in a barrier that was completed
    bool again = false;       // its connection is not its first
    bool aborted = false;
  };
  struct Asked {
    ConnectionId connection;
    std::string thrid;
    std::uint64_t processes;
  };
  struct NameAsked {
    ConnectionId connection;
    std::string thrid;
    wire::MessageId reply;
  };

  ServerSession* find(ConnectionId connection) const;
  ServerSession& add(ConnectionId connection, std::unique_ptr<ServerSession> session);

  // What a session asks of its job.
  void connected(std::uint32_t rank, ConnectionId connection);
  // Whether a rank that comes back goes on where it was: what the others have from it stands since a barrier.
  bool goes_on(std::uint32_t rank) const;
  Barrier::Entry enter_barrier(std::uint32_t rank, Effects& effects);
  GroupBarriers::Result enter_group(std::uint32_t rank, const wire::BarrierGroup& group, Effects& effects);
  void answer_waiters(const std::vector<NodeAttributes::Waiter>& waiters, std::string_view value,
                      Effects& effects);
  void ask_spawn(std::uint32_t rank, ConnectionId connection, std::string_view thrid, SpawnRequest request,
                 Effects& effects);
  void ask_name(std::uint32_t rank, ConnectionId connection, std::string_view thrid, wire::MessageId reply,
                NameRequest request, Effects& effects);
  void release_all(Effects& effects);
  void forget_deferred(std::uint32_t rank, ConnectionId connection);
  void rank_ended(std::uint32_t rank, std::string cut_off, Effects& effects);
  void finalized(std::uint32_t rank, Effects& effects);
  // Told after every event that may have made a barrier hopeless.
  void look_for_stuck(Effects& effects);

  ProcessGroupOptions options_;
  SpaceShare share_;
  Kvs kvs_;
  Barrier barrier_;
  GroupBarriers groups_;
  NodeAttributes attributes_;
  Names::Owner name_owner_;
  QueryId last_query_ = 0;
  std::unordered_map<QueryId, Asked> queries_;
  std::unordered_map<QueryId, NameAsked> name_queries_;
  Authenticator auth_;
  std::vector<Rank> ranks_;
  std::vector<std::uint32_t> departed_;
  bool told_stuck_ = false;
  bool told_full_ = false;
  std::vector<std::unique_ptr<ServerSession>> sessions_;  // by ConnectionId
  std::uint64_t rejected_ = 0;
};

}  // namespace wireup::engine
