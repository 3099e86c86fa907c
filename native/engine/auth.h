// Who may be which rank: a state machine of its own, table-tested without sockets. What the kernel says of a
// peer (uid, pid, address) is an input, in Peer; os/ only answers queries about sockets.
//
// A peer passes three gates: its uid, or its host where nobody can know the uid, at accept and before a byte
// of its is read; the pmi_id of its initack; and a rank has one connection. A refused peer is never answered:
// MPICH goes on after rc=-1, and a stranger should learn nothing.
//
// A pmi_id is spent by `init`: until then, when the connection ends, the same pmi_id may come again (a
// wrapper that hands its socket to the program it starts, or a program that is none of PMI). After `init` it
// is refused for good, but under `reconnect`, where it may come back when its connection has gone.
//
// Nobody holds anybody up. All that is counted is counted by source: a uid of this machine, or a host that is
// none. Another uid's connections are refused before they take a slot; a source's wrong pmi_ids delay the end
// of its own wrong connections, never anybody's right pmi_id; when a source has more connections of unknown
// rank than its slots, or all sources together more than theirs, old ones go for new ones, and new ones wait
// (unaccepted, with what they have said) until one is old enough to go. A host, not a
// uid, is locked out after a few wrong pmi_ids: whoever has our uid needs no guessing.
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

#include "engine/effects.h"
#include "engine/peer.h"
#include "engine/time.h"
#include "wire/host_range.h"

namespace wireup::engine {

// One uid, or all from first to last: what a user namespace maps its users to.
struct UidRange {
  UidRange(std::uint32_t uid) : first(uid), last(uid) {}
  UidRange(std::uint32_t first_uid, std::uint32_t last_uid) : first(first_uid), last(last_uid) {}
  std::uint32_t first;
  std::uint32_t last;
};

// A rank's PMI_ID, exactly as its client sends it.
struct PmiId {
  PmiId(std::uint32_t number) : text(std::to_string(number)) {}
  PmiId(std::string word) : text(std::move(word)) {}
  std::string text;
};

struct AuthPolicy {
  // Who may connect from this machine. Root is nobody special.
  std::vector<UidRange> allowed_uids;

  // From which other machines one may connect.
  std::vector<wire::HostRange> allowed_hosts = {};

  // The PMI_ID of each rank. Random: below 2^31 for MPICH, which sends atoi(PMI_ID), or 128 bits for our own
  // clients. Empty: nobody comes in by a listener.
  std::vector<PmiId> pmi_ids;

  // From accept to a good initack. Ten seconds is far beyond what a client needs, and short enough that
  // silent strangers do not pile up.
  std::chrono::milliseconds handshake_timeout{10'000};

  // The same pmi_id may come back when its connection has gone.
  bool reconnect = false;

  // The peer must be the rank's process or a descendant of it, as far as the kernel tells. A guard against
  // accidents, not a boundary.
  bool descendants_only = false;

  // Connections of unknown rank, of one source and of all, at least 1. A source always has as many as there
  // are ranks still expected, and then the sum is larger too.
  std::size_t slots = 4096;
  std::size_t total_slots = 8192;

  // Only what is older than this gives way to a new connection: a rank under load may need a while between
  // its connect and its first word.
  std::chrono::milliseconds eviction_age{250};
};

// What a host may do wrong before it is locked out for the life of the job.
inline constexpr std::uint32_t kHostMisses = 5;

class Authenticator {
 public:
  // Throws std::invalid_argument: more pmi_ids than ranks, or a pmi_id given twice.
  Authenticator(AuthPolicy policy, std::uint32_t size);

  struct Admission {
    std::optional<std::string> refusal;   // empty: the peer may speak, until its deadline
    std::optional<ConnectionId> evicted;  // this one has to go for it, and is forgotten
  };
  // How long a peer that may speak has to wait for a place: all are taken by connections that are too young
  // to give way. No peer that may be a rank is refused for lack of a place. Empty: it need not wait.
  std::optional<TimePoint> busy_until(const Peer& peer, TimePoint now) const;
  // At accept. Throws std::logic_error where it has to wait.
  Admission admit(ConnectionId connection, const Peer& peer, TimePoint now);

  struct Identity {
    std::optional<std::uint32_t> rank;
    std::string refusal = {};  // when there is no rank
    // The refused connection is to be heard no more, but closed only when it expires.
    bool hold = false;
  };
  // What an initack proves. On success the rank is taken and the deadline is over.
  Identity identify(ConnectionId connection, std::string_view pmiid, const Peer& peer);

  // A channel that proves its rank by itself. False: the rank is taken.
  bool take(std::uint32_t rank);
  void spend(std::uint32_t rank);
  void leave(std::uint32_t rank);
  // Its last program has finalized: its pmi_id is of no more use, also under `reconnect`.
  void retire(std::uint32_t rank);

  // Which process a rank is, and which one starts ranks whose process is not known yet.
  void runs_as(std::uint32_t rank, std::int32_t pid) { seats_[rank].pid = pid; }
  void started_by(std::int32_t pid) { launcher_ = pid; }
  // Whether a launcher starts the ranks: the host then hears when their processes end.
  bool has_launcher() const { return launcher_ != 0; }

  // The connection ended before it was known.
  void forget(ConnectionId connection);

  std::optional<TimePoint> deadline() const;
  struct Expired {
    ConnectionId connection;
    bool held;  // refused before; otherwise it has not identified itself in time
  };
  // A connection whose time is over, one at a call; forgotten with that.
  std::optional<Expired> expire(TimePoint now);

  // Connections of unknown rank.
  std::size_t unidentified() const { return waiting_.size(); }

 private:
  struct Seat {
    bool taken = false;
    bool spent = false;
    bool retired = false;
    std::int32_t pid = 0;  // 0: not known
  };
  // A uid of this machine, or another machine's address.
  using SourceName = std::pair<std::optional<std::uint32_t>, std::string>;
  struct Source {
    std::set<std::pair<TimePoint, ConnectionId>> waiting;  // by age
    std::uint32_t misses = 0;
  };
  struct Waiting {
    TimePoint admitted;
    TimePoint deadline;
    std::map<SourceName, Source>::iterator source;
    bool held = false;
  };

  std::string refusal_of(const Peer& peer) const;
  static SourceName name_of(const Peer& peer);
  bool expected(const Seat& seat) const;
  void change(std::uint32_t rank, bool Seat::*what, bool value);
  const Source* crowded(const SourceName& name) const;
  std::string descent_refusal(std::uint32_t rank, const Peer& peer) const;
  bool missed(ConnectionId connection);

  AuthPolicy policy_;
  std::unordered_map<std::string, std::uint32_t> ranks_;  // by pmi_id
  std::vector<Seat> seats_;
  std::size_t expected_;  // seats that a connection may still take
  std::int32_t launcher_ = 0;
  std::map<SourceName, Source> sources_;  // those with connections waiting or misses
  std::set<std::pair<TimePoint, ConnectionId>> deadlines_;
  std::unordered_map<ConnectionId, Waiting> waiting_;
};

}  // namespace wireup::engine
