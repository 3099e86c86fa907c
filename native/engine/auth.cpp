#include "engine/auth.h"

#include <algorithm>
#include <stdexcept>

namespace wireup::engine {
namespace {

using std::chrono::milliseconds;

// This many wrong PMI_IDs of a source have no consequence: a rank may be started twice or have an old
// environment.
constexpr std::uint32_t kFreeMisses = 3;

// How long a connection with a wrong PMI_ID stays open after its accept. Each further wrong PMI_ID of the
// source doubles it.
constexpr milliseconds kFirstDelay{100};
constexpr milliseconds kLongestDelay{5'000};

bool is_locked_out(const Peer& peer, std::uint32_t misses) {
  return !peer.host.empty() && misses >= kHostMisses;
}

std::string locked_out(const Peer& peer) {
  return "host " + peer.host + " is locked out after " + std::to_string(kHostMisses) + " wrong PMI_IDs";
}

milliseconds delay_of(std::uint32_t misses) {
  if (misses <= kFreeMisses) return milliseconds::zero();
  constexpr std::uint32_t kEnough = 6;  // kFirstDelay * 2^6 is more than kLongestDelay
  return std::min(kFirstDelay * (1 << std::min(misses - kFreeMisses - 1, kEnough)), kLongestDelay);
}

}  // namespace

Authenticator::Authenticator(AuthPolicy policy, std::uint32_t size)
    : policy_(std::move(policy)), rank_entries_(size), expected_(size) {
  // A connection can only be replaced if there is one.
  policy_.slots = std::max<std::size_t>(policy_.slots, 1);
  policy_.total_slots = std::max<std::size_t>(policy_.total_slots, 1);
  if (policy_.pmi_ids.size() > size) throw std::invalid_argument("pmi_ids: more than there are ranks");
  for (std::uint32_t rank = 0; rank < policy_.pmi_ids.size(); ++rank) {
    const std::string& text = policy_.pmi_ids[rank].text;
    if (!text.empty() && !ranks_.emplace(text, rank).second) {
      throw std::invalid_argument("pmi_ids: two ranks have the same one");
    }
  }
}

// Why the peer itself is refused, whatever it sends; empty: it is not.
std::string Authenticator::refusal_of(const Peer& peer, Refusal* kind) const {
  const auto known = sources_.find(name_of(peer));
  if (known != sources_.end() && is_locked_out(peer, known->second.misses)) {
    if (kind != nullptr) *kind = Refusal::locked;
    return locked_out(peer);
  }
  if (!peer.host.empty()) {
    const auto address = wire::parse_ip(peer.host);
    const bool allowed = address && std::ranges::any_of(policy_.allowed_hosts, [&](const auto& range) {
                           return range.contains(*address);
                         });
    return allowed ? std::string() : "host " + peer.host + " is not allowed";
  }
  if (!peer.uid) return peer.unknown.empty() ? "its uid is unknown" : peer.unknown;
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
  const Source* source = full_source(name_of(peer));
  if (source == nullptr) return std::nullopt;
  const TimePoint evictable = source->waiting.begin()->first + policy_.eviction_age;
  return evictable <= now ? std::nullopt : std::optional(evictable);
}

Authenticator::Admission Authenticator::admit(ConnectionId connection, const Peer& peer, TimePoint now) {
  Admission admission;
  if (std::string refusal = refusal_of(peer, &admission.kind); !refusal.empty()) {
    admission.refusal = std::move(refusal);
    return admission;
  }
  if (busy_until(peer, now)) throw std::logic_error("admit: the connection has to wait, see busy_until()");
  const SourceName name = name_of(peer);
  if (const Source* full = full_source(name)) {
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

bool Authenticator::expected(const RankEntry& state) const {
  return !state.taken && !state.retired && (!state.spent || policy_.reconnect);
}

void Authenticator::change(std::uint32_t rank, bool RankEntry::*what, bool value) {
  RankEntry& state = rank_entries_[rank];
  const bool before = expected(state);
  state.*what = value;
  if (before && !expected(state)) --expected_;
  if (!before && expected(state)) ++expected_;
}

// The source whose oldest connection must be replaced by the new one; null: a slot is free.
const Authenticator::Source* Authenticator::full_source(const SourceName& name) const {
  const auto own = sources_.find(name);
  if (own != sources_.end() && own->second.waiting.size() >= std::max(policy_.slots, expected_))
    return &own->second;
  if (waiting_.size() < std::max(policy_.total_slots, expected_)) return nullptr;
  const auto size = [](const auto& entry) { return entry.second.waiting.size(); };
  return &std::ranges::max_element(sources_, {}, size)->second;
}

std::string Authenticator::descent_refusal(std::uint32_t rank, const Peer& peer) const {
  if (!policy_.descendants_only || peer.lineage.empty()) return {};
  const std::int32_t process = rank_entries_[rank].pid;
  const std::int32_t ancestor = process != 0 ? process : launcher_;
  if (ancestor == 0 || std::ranges::count(peer.lineage, ancestor) > 0) return {};
  const std::string name = "pid " + std::to_string(peer.lineage.front());
  const std::string expected = " (pid " + std::to_string(ancestor) + ")";
  if (process == 0) return name + " was not started by the agent" + expected;
  return name + " is neither rank " + std::to_string(rank) + "'s process" + expected +
         " nor a descendant of it";
}

bool Authenticator::count_miss(ConnectionId connection) {
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
  const auto refused = [&](Refusal kind, std::string why) {
    forget(connection);
    return Identity{std::nullopt, std::move(why), kind};
  };
  const auto waiting = waiting_.find(connection);
  if (waiting != waiting_.end() && is_locked_out(peer, waiting->second.source->second.misses)) {
    return refused(Refusal::locked, locked_out(peer));
  }
  const auto entry = ranks_.find(std::string(pmiid));
  if (entry == ranks_.end())
    return {std::nullopt, "pmiid is not the PMI_ID of a rank", Refusal::pmi_id, count_miss(connection)};
  const std::uint32_t rank = entry->second;
  const std::string name = "rank " + std::to_string(rank);
  const RankEntry& state = rank_entries_[rank];
  if (state.taken) return refused(Refusal::connected, name + " has a connection already");
  if (state.retired) return refused(Refusal::pmi_id, name + " has finalized");
  if (!expected(state)) return refused(Refusal::pmi_id, "the PMI_ID of " + name + " has been used");
  if (std::string refusal = descent_refusal(rank, peer); !refusal.empty())
    return refused(Refusal::descent, refusal);
  take(rank);
  forget(connection);
  return {rank};
}

bool Authenticator::take(std::uint32_t rank) {
  if (rank_entries_[rank].taken) return false;
  change(rank, &RankEntry::taken, true);
  return true;
}

void Authenticator::spend(std::uint32_t rank) { change(rank, &RankEntry::spent, true); }

void Authenticator::leave(std::uint32_t rank) { change(rank, &RankEntry::taken, false); }

void Authenticator::retire(std::uint32_t rank) { change(rank, &RankEntry::retired, true); }

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
