#include "engine/auth.h"

#include <algorithm>
#include <stdexcept>

namespace wireup::engine {
namespace {

using std::chrono::milliseconds;

// Wrong pmi_ids that cost nothing: a rank that is started twice, a stale environment.
constexpr std::uint32_t kFreeMisses = 3;

// How long a wrong pmi_id's connection is held from its accept on, doubled by each further miss of the
// source.
constexpr milliseconds kFirstDelay{100};
constexpr milliseconds kLongestDelay{5'000};

bool is_locked_out(const Peer& peer, std::uint32_t misses) {
  return !peer.host.empty() && misses >= kHostMisses;
}

std::string locked_out(const Peer& peer) {
  return "host " + peer.host + " is locked out after " + std::to_string(kHostMisses) + " wrong pmi_ids";
}

milliseconds delay_of(std::uint32_t misses) {
  if (misses <= kFreeMisses) return milliseconds::zero();
  constexpr std::uint32_t kEnough = 6;  // 2^6 times the first is over the longest
  return std::min(kFirstDelay * (1 << std::min(misses - kFreeMisses - 1, kEnough)), kLongestDelay);
}

}  // namespace

Authenticator::Authenticator(AuthPolicy policy, std::uint32_t size)
    : policy_(std::move(policy)), seats_(size), expected_(size) {
  // With none there would be no oldest to give way.
  policy_.slots = std::max<std::size_t>(policy_.slots, 1);
  policy_.total_slots = std::max<std::size_t>(policy_.total_slots, 1);
  if (policy_.pmi_ids.size() > size) throw std::invalid_argument("more pmi_ids than ranks");
  for (std::uint32_t rank = 0; rank < policy_.pmi_ids.size(); ++rank) {
    if (!ranks_.emplace(policy_.pmi_ids[rank].text, rank).second) {
      throw std::invalid_argument("a pmi_id is given twice");
    }
  }
}

// What is refused for what it is, whatever it says.
std::string Authenticator::refusal_of(const Peer& peer) const {
  const auto known = sources_.find(name_of(peer));
  if (known != sources_.end() && is_locked_out(peer, known->second.misses)) return locked_out(peer);
  if (!peer.host.empty()) {
    const auto address = wire::parse_ip(peer.host);
    const bool allowed = address && std::ranges::any_of(policy_.allowed_hosts, [&](const auto& range) {
                           return range.contains(*address);
                         });
    return allowed ? std::string() : "host " + peer.host + " is not allowed";
  }
  if (!peer.uid) return peer.unknown.empty() ? "its uid is not known" : peer.unknown;
  const bool allowed = std::ranges::any_of(policy_.allowed_uids, [&](const UidRange& range) {
    return range.first <= *peer.uid && *peer.uid <= range.last;
  });
  return allowed ? std::string() : "uid " + std::to_string(*peer.uid) + " is not allowed";
}

Authenticator::SourceName Authenticator::name_of(const Peer& peer) {
  return {peer.host.empty() ? peer.uid : std::nullopt, peer.host};
}

std::optional<TimePoint> Authenticator::busy_until(const Peer& peer, TimePoint now) const {
  if (!refusal_of(peer).empty()) return std::nullopt;
  const Source* source = crowded(name_of(peer));
  if (source == nullptr) return std::nullopt;
  const TimePoint room = source->waiting.begin()->first + policy_.eviction_age;
  return room <= now ? std::nullopt : std::optional(room);
}

Authenticator::Admission Authenticator::admit(ConnectionId connection, const Peer& peer, TimePoint now) {
  Admission admission;
  if (std::string refusal = refusal_of(peer); !refusal.empty()) {
    admission.refusal = std::move(refusal);
    return admission;
  }
  if (busy_until(peer, now)) throw std::logic_error("admit: there is no room yet");
  const SourceName name = name_of(peer);
  if (const Source* full = crowded(name)) {
    admission.evicted = full->waiting.begin()->second;
    forget(*admission.evicted);
  }
  const auto source = sources_.try_emplace(name).first;
  const TimePoint deadline = now + policy_.handshake_timeout;
  source->second.waiting.emplace(now, connection);
  deadlines_.emplace(deadline, connection);
  waiting_.insert_or_assign(connection, Waiting{now, deadline, source});
  return admission;
}

bool Authenticator::expected(const Seat& seat) const {
  return !seat.taken && !seat.retired && (!seat.spent || policy_.reconnect);
}

void Authenticator::change(std::uint32_t rank, bool Seat::*what, bool value) {
  Seat& seat = seats_[rank];
  const bool before = expected(seat);
  seat.*what = value;
  if (before && !expected(seat)) --expected_;
  if (!before && expected(seat)) ++expected_;
}

// The source that has to give a place up for a connection of this one; null: there is room.
const Authenticator::Source* Authenticator::crowded(const SourceName& name) const {
  const auto own = sources_.find(name);
  if (own != sources_.end() && own->second.waiting.size() >= std::max(policy_.slots, expected_))
    return &own->second;
  if (waiting_.size() < std::max(policy_.total_slots, expected_)) return nullptr;
  const auto size = [](const auto& entry) { return entry.second.waiting.size(); };
  return &std::ranges::max_element(sources_, {}, size)->second;
}

std::string Authenticator::descent_refusal(std::uint32_t rank, const Peer& peer) const {
  if (!policy_.descendants_only || peer.lineage.empty()) return {};
  const std::int32_t process = seats_[rank].pid;
  const std::int32_t ancestor = process != 0 ? process : launcher_;
  if (ancestor == 0 || std::ranges::count(peer.lineage, ancestor) > 0) return {};
  const std::string who = "pid " + std::to_string(peer.lineage.front());
  const std::string whose = " (pid " + std::to_string(ancestor) + ")";
  if (process == 0) return who + " was not started by the agent" + whose;
  return who + " is neither rank " + std::to_string(rank) + "'s process" + whose + " nor started by it";
}

bool Authenticator::missed(ConnectionId connection) {
  const auto entry = waiting_.find(connection);
  if (entry == waiting_.end()) return false;
  Waiting& waiting = entry->second;
  const milliseconds delay = delay_of(++waiting.source->second.misses);
  if (delay == milliseconds::zero()) {
    forget(connection);
    return false;
  }
  deadlines_.erase({waiting.deadline, connection});
  waiting.deadline = waiting.admitted + delay;
  waiting.held = true;
  deadlines_.emplace(waiting.deadline, connection);
  return true;
}

Authenticator::Identity Authenticator::identify(ConnectionId connection, std::string_view pmiid,
                                                const Peer& peer) {
  const auto refused = [&](std::string why) {
    forget(connection);
    return Identity{std::nullopt, std::move(why)};
  };
  const auto waiting = waiting_.find(connection);
  if (waiting != waiting_.end() && is_locked_out(peer, waiting->second.source->second.misses)) {
    return refused(locked_out(peer));
  }
  const auto entry = ranks_.find(std::string(pmiid));
  if (entry == ranks_.end()) return {std::nullopt, "pmiid is no rank's", missed(connection)};
  const std::uint32_t rank = entry->second;
  const std::string name = "rank " + std::to_string(rank);
  const Seat& seat = seats_[rank];
  if (seat.taken) return refused(name + " has a connection already");
  if (seat.retired) return refused(name + " has finalized");
  if (!expected(seat)) return refused("the pmiid of " + name + " has been used");
  if (std::string refusal = descent_refusal(rank, peer); !refusal.empty()) return refused(refusal);
  take(rank);
  forget(connection);
  return {rank};
}

bool Authenticator::take(std::uint32_t rank) {
  if (seats_[rank].taken) return false;
  change(rank, &Seat::taken, true);
  return true;
}

void Authenticator::spend(std::uint32_t rank) { change(rank, &Seat::spent, true); }

void Authenticator::leave(std::uint32_t rank) { change(rank, &Seat::taken, false); }

void Authenticator::retire(std::uint32_t rank) { change(rank, &Seat::retired, true); }

void Authenticator::forget(ConnectionId connection) {
  const auto entry = waiting_.find(connection);
  if (entry == waiting_.end()) return;
  const auto [admitted, deadline, source, held] = entry->second;
  deadlines_.erase({deadline, connection});
  waiting_.erase(entry);
  source->second.waiting.erase({admitted, connection});
  if (source->second.waiting.empty() && source->second.misses == 0) sources_.erase(source);
}

std::optional<TimePoint> Authenticator::deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

std::optional<Authenticator::Expired> Authenticator::expire(TimePoint now) {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
  const ConnectionId connection = deadlines_.begin()->second;
  const bool held = waiting_.at(connection).held;
  forget(connection);
  return Expired{connection, held};
}

}  // namespace wireup::engine
