// Authentication: decides which connection is which rank. A state machine without sockets; what the kernel
// reports about a peer (uid, pid, address) is an input, in Peer.
//
// Three checks:
// 1. When a connection is accepted, before a byte of it is read: the peer's uid must be allowed. If the peer
// is on another machine, where the kernel cannot report a uid, its host must be allowed.
// 2. The initack must carry the PMI_ID of a rank.
// 3. That rank must not have a connection already.
// A refused peer gets no reply: MPICH would continue after rc=-1, and an unidentified peer should learn
// nothing.
//
// A PMI_ID is used up by `init`. If the connection ends before that, another connection may use the same
// PMI_ID: a wrapper may pass its socket to the program that it starts, or the program may not use PMI at all.
// After `init` the PMI_ID is refused. Under `reconnect` it is accepted again as soon as its connection has
// ended.
//
// No peer can keep a rank of another user from connecting, because everything is counted per *source*. A
// source is a uid of this machine, or the address of another machine.
// - Connections of other uids are refused before they take a slot.
// - A connection with a wrong PMI_ID is kept open for a while. The delay grows with each wrong PMI_ID of the
// same source. It never delays a connection with a right one.
// - If a source has used up its slots, a new connection of it replaces its oldest unidentified one. If all
// slots together are used up, a new connection replaces the oldest one of the source with the most. If that
// one is younger than eviction_age, the new connection stays unaccepted, with its bytes unread, until then.
// - A host is locked out after kHostMisses wrong PMI_IDs. A uid is not, because a process with an allowed uid
// can read the PMI_IDs anyway.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/counters.h"
#include "engine/effects.h"
#include "engine/peer.h"
#include "engine/time.h"
#include "wire/host_range.h"

namespace wireup::engine {

// One uid, or all from first to last. A user namespace maps a range of uids to its users.
struct UidRange {
  UidRange(std::uint32_t uid) : first(uid), last(uid) {}
  UidRange(std::uint32_t first_uid, std::uint32_t last_uid) : first(first_uid), last(last_uid) {}
  std::uint32_t first;
  std::uint32_t last;
};

// A rank's PMI_ID, exactly as its client sends it. Empty: no connection can prove that it is this rank.
struct PmiId {
  PmiId(std::uint32_t number) : text(std::to_string(number)) {}
  PmiId(std::string word) : text(std::move(word)) {}
  std::string text;
};

struct AuthPolicy {
  // The uids that may connect from this machine. Root needs to be listed like any other.
  std::vector<UidRange> allowed_uids;

  // The other machines that may connect.
  std::vector<wire::HostRange> allowed_hosts = {};

  // The PMI_ID of each rank, a random number: below 2^31 for MPICH, which sends atoi(PMI_ID), or of 128 bits
  // for wireup's own clients. If there are none, no rank can connect to a listener.
  std::vector<PmiId> pmi_ids;

  // The time from accept to a valid initack. Ten seconds are far more than a client needs, and few enough
  // that silent connections do not accumulate.
  std::chrono::milliseconds handshake_timeout{10'000};

  // A PMI_ID may be used again after its connection has ended.
  bool reconnect = false;

  // The peer must be the rank's process or a descendant of it, if the kernel reports its ancestors. This
  // prevents mistakes; it is not a security boundary.
  bool descendants_only = false;

  // The maximum number of unidentified connections of one source and of all sources, at least 1. If more
  // ranks are still expected, their number is the maximum instead.
  std::size_t slots = 4096;
  std::size_t total_slots = 8192;

  // Only a connection that is older than this can be replaced by a new one. A rank on a loaded machine may
  // need some time between its connect and its initack.
  std::chrono::milliseconds eviction_age{250};
};

// A host is locked out for the life of the job after this many wrong PMI_IDs.
inline constexpr std::uint32_t kHostMisses = 5;

class Authenticator {
 public:
  // Throws std::invalid_argument if there are more PMI_IDs than ranks, or two equal ones.
  Authenticator(AuthPolicy policy, std::uint32_t size);

  struct Admission {
    std::optional<std::string> refusal;  // empty: the peer may send its initack until the deadline
    Refusal kind = Refusal::peer;
    std::optional<ConnectionId> evicted;  // must be closed in exchange; already forgotten here
  };
  // Until when an allowed peer must stay unaccepted, because every slot is taken by a connection that is too
  // young to be replaced. Empty: it can be accepted now. A peer that may be a rank is never refused for lack
  // of a slot.
  std::optional<TimePoint> busy_until(const Peer& peer, TimePoint now) const;
  // Call this at accept. Throws std::logic_error if busy_until() is not empty.
  Admission admit(ConnectionId connection, const Peer& peer, TimePoint now);

  struct Identity {
    std::optional<std::uint32_t> rank;
    std::string refusal = {};  // why there is no rank
    Refusal kind = Refusal::pmi_id;
    // Ignore the refused connection, but close it only when it expires.
    bool hold = false;
  };
  // Checks the PMI_ID of an initack. On success the rank has this connection, and the connection has no
  // deadline any more.
  Identity identify(ConnectionId connection, std::string_view pmiid, const Peer& peer);

  // The rank has a connection now, by a channel that needs no PMI_ID. Returns false if it has one already.
  bool take(std::uint32_t rank);
  // The rank has sent init, which uses up its PMI_ID.
  void spend(std::uint32_t rank);
  // The rank's connection has ended.
  void leave(std::uint32_t rank);
  // The rank's last program has finalized. Its PMI_ID is refused from now on, also under `reconnect`.
  void retire(std::uint32_t rank);

  // For descendants_only: the process of a rank, and the process that starts the ranks whose process is not
  // known yet.
  void runs_as(std::uint32_t rank, std::int32_t pid) { rank_entries_[rank].pid = pid; }
  void started_by(std::int32_t pid) { launcher_ = pid; }
  // Whether a launcher starts the ranks. The driver then reports when their processes end.
  bool has_launcher() const { return launcher_ != 0; }

  // The connection ended before it was identified.
  void forget(ConnectionId connection);

  std::optional<TimePoint> deadline() const;
  struct Expired {
    ConnectionId connection;
    bool held;  // it was refused before; false: it has not identified itself in time
  };
  // Returns one connection whose deadline has passed, and forgets it. Call it until it returns nothing.
  std::optional<Expired> expire(TimePoint now);

  // The number of unidentified connections.
  std::size_t unidentified() const { return waiting_.size(); }

 private:
  struct RankEntry {
    bool taken = false;    // it has a connection
    bool spent = false;    // its PMI_ID was used by an init
    bool retired = false;  // its PMI_ID is refused for good
    std::int32_t pid = 0;  // 0: not known
  };
  // The uid and the host of a source; one of them is empty.
  using SourceName = std::pair<std::optional<std::uint32_t>, std::string>;
  struct Source {
    std::set<std::pair<TimePoint, ConnectionId>> waiting;  // the oldest first
    std::uint32_t misses = 0;
  };
  struct Waiting {
    TimePoint admitted;
    TimePoint deadline;
    std::map<SourceName, Source>::iterator source;
    bool held = false;
  };

  std::string refusal_of(const Peer& peer, Refusal* kind = nullptr) const;
  static SourceName name_of(const Peer& peer);
  bool expected(const RankEntry& state) const;
  void change(std::uint32_t rank, bool RankEntry::*what, bool value);
  const Source* full_source(const SourceName& name) const;
  std::string descent_refusal(std::uint32_t rank, const Peer& peer) const;
  bool count_miss(ConnectionId connection);

  AuthPolicy policy_;
  std::unordered_map<std::string, std::uint32_t> ranks_;  // by pmi_id
  std::vector<RankEntry> rank_entries_;
  std::size_t expected_;  // how many ranks may still connect
  std::int32_t launcher_ = 0;
  std::map<SourceName, Source> sources_;  // those with unidentified connections or wrong PMI_IDs
  std::set<std::pair<TimePoint, ConnectionId>> deadlines_;
  std::unordered_map<ConnectionId, Waiting> waiting_;
};

}  // namespace wireup::engine
