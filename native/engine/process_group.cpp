#include "engine/process_group.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "engine/result_codes.h"
#include "engine/server_session.h"
#include "wire/clique.h"
#include "wire/codec.h"
#include "wire/key_values.h"

namespace wireup::engine {
namespace {

using wire::ValueType;
using wire::Version;

// True if ranks of both versions can receive the word, and a buffer of `limit` bytes holds it.
bool is_word(std::string_view text, std::size_t limit) {
  return !text.empty() && text.size() < limit && wire::is_encodable(ValueType::word, Version::v1, text) &&
         wire::is_encodable(ValueType::word, Version::v2, text);
}

// Bytes above 0x7f are allowed, because Flux has kvsnames in UTF-8.
bool is_kvsname(std::string_view name) {
  return is_word(name, kMaxKvsname) && std::ranges::none_of(name, [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return byte <= ' ' || byte == 0x7f;
         });
}

ProcessGroupOptions checked(ProcessGroupOptions options) {
  if (!is_kvsname(options.kvsname)) {
    throw std::invalid_argument("kvsname: expected 1 to 255 bytes without blanks, control bytes, '=' or ';'");
  }
  if (!options.spawner.empty() && !is_kvsname(options.spawner)) {
    throw std::invalid_argument(
        "spawner: expected nothing, or 1 to 255 bytes without blanks, control bytes, '=' or ';'");
  }
  for (const auto& [key, value] : options.preput) {
    if (key.empty() || key.size() >= kMaxKey || !wire::is_encodable(ValueType::word, Version::v1, key)) {
      throw std::invalid_argument(
          "preput: expected keys of 1 to 63 bytes without blanks, newlines, NUL bytes or '='");
    }
    if (value.size() >= kMaxValue || !wire::is_encodable(ValueType::rest_of_line, Version::v1, value)) {
      throw std::invalid_argument(
          "preput: expected values of up to 1023 bytes without newlines and NUL bytes");
    }
  }
  const auto elsewhere = std::ranges::count(options.elsewhere, true);
  if (!options.elsewhere.empty() &&
      (options.elsewhere.size() != options.layout.size() || elsewhere == options.layout.size())) {
    throw std::invalid_argument("elsewhere: expected one entry for each rank, and a rank that is here");
  }
  if (elsewhere == 0) options.elsewhere.clear();
  const std::size_t ids = std::min<std::size_t>(options.auth.pmi_ids.size(), options.layout.size());
  for (std::uint32_t rank = 0; rank < ids; ++rank) {
    const std::string& text = options.auth.pmi_ids[rank].text;
    if (options.is_elsewhere(rank) ? !text.empty() : !is_word(text, kMaxKey)) {
      throw std::invalid_argument(
          "pmi_ids: expected words of 1 to 63 bytes without newlines, NUL bytes, '=' or ';' for the ranks "
          "that are here, and empty ones for the others");
    }
  }
  if (!options.names) options.names = std::make_shared<Names>();
  if (!options.space) options.space = std::make_shared<Space>(kDefaultSpace);
  return options;
}

void append_group_release(std::int32_t tag, Effects& effects) {
  wire::MessageWriter(effects.buffer(), wire::MessageId::barrier_out)
      .add(wire::AttributeId::rc, kSuccess)
      .add(wire::AttributeId::tag, tag)
      .end();
}

}  // namespace

ProcessGroup::ProcessGroup(ProcessGroupOptions options)
    : options_(checked(std::move(options))),
      share_(options_.space),
      kvs_(share_, !options_.elsewhere.empty()),
      barrier_(size(), options_.elsewhere),
      groups_(options_.layout),
      groups_elsewhere_(options_.layout),
      attributes_(share_),
      name_owner_(options_.names->join()),
      auth_(options_.auth, size()),
      ranks_(size()) {
  for (std::uint32_t rank = 0; rank < size(); ++rank) {
    if (!options_.is_elsewhere(rank)) continue;
    elsewhere_.push_back(rank);
    auth_.retire(rank);
  }
  std::string own;
  for (const auto& [key, value] : options_.preput) wire::append_key_value(own, key, value);
  // MVAPICH2 fails if the key is missing (flux-core issue 3592), MPICH if its value is empty. A mapping that
  // is too long is therefore left out, as Flux does; MPICH then compares the names of hosts.
  const std::string mapping = options_.layout.process_mapping(kMaxProcessMapping);
  if (!mapping.empty() || options_.strict) wire::append_key_value(own, wire::kProcessMappingKey, mapping);
  kvs_.store(std::move(own));
}

ProcessGroup::~ProcessGroup() { options_.names->leave(name_owner_); }

ServerSession* ProcessGroup::find(ConnectionId connection) const {
  return connection < sessions_.size() ? sessions_[connection].get() : nullptr;
}

ServerSession& ProcessGroup::add(ConnectionId connection, std::unique_ptr<ServerSession> session) {
  if (connection >= sessions_.size()) sessions_.resize(connection + 1);
  sessions_[connection] = std::move(session);
  return *sessions_[connection];
}

void ProcessGroup::open_channel(ConnectionId connection, std::uint32_t rank) {
  if (rank >= size()) throw std::logic_error("open_channel: no such rank");
  if (options_.is_elsewhere(rank)) throw std::logic_error("open_channel: the rank is elsewhere");
  if (find(connection) != nullptr) throw std::logic_error("open_channel: the connection id is in use");
  if (!auth_.take(rank)) throw std::logic_error("open_channel: the rank has a connection");
  add(connection, std::make_unique<ServerSession>(*this, connection, rank));
  connected(rank, connection);
}

void ProcessGroup::accept(ConnectionId connection, Peer peer, TimePoint now, Effects& effects) {
  if (find(connection) != nullptr) throw std::logic_error("accept: the connection id is in use");
  Authenticator::Admission admission = auth_.admit(connection, peer, now);
  if (admission.evicted) {
    reject(find(*admission.evicted)->peer(), Refusal::evicted,
           "had to make way for a newer connection before it identified itself", effects);
    effects.close(*admission.evicted);
    sessions_[*admission.evicted].reset();
  }
  if (admission.refusal) {
    reject(peer, admission.kind, *std::move(admission.refusal), effects);
    effects.close(connection);
    return;
  }
  add(connection, std::make_unique<ServerSession>(*this, connection, std::move(peer)));
}

std::optional<std::uint32_t> ProcessGroup::rank_of(ConnectionId connection) const {
  const ServerSession* session = find(connection);
  return session == nullptr ? std::nullopt : session->rank();
}

void ProcessGroup::receive(ConnectionId connection, std::string_view bytes, Effects& effects) {
  counters_.received += bytes.size();
  ServerSession* session = find(connection);
  if (session != nullptr && !session->receive(bytes, effects)) sessions_[connection].reset();
}

void ProcessGroup::eof(ConnectionId connection, Effects& effects, std::string cut_off) {
  ServerSession* session = find(connection);
  if (session == nullptr) return;
  session->eof(std::move(cut_off), effects);
  sessions_[connection].reset();
}

void ProcessGroup::tick(TimePoint now, Effects& effects) {
  while (const auto expired = auth_.expire(now)) {
    if (!expired->held) {
      reject(find(expired->connection)->peer(), Refusal::timeout,
             "no initack within " + std::to_string(options_.auth.handshake_timeout.count()) + " ms", effects);
    }
    effects.close(expired->connection);
    sessions_[expired->connection].reset();
  }
}

std::optional<TimePoint> ProcessGroup::deadline() const { return auth_.deadline(); }

ProcessGroupStatus ProcessGroup::status() const {
  ProcessGroupStatus status;
  status.ranks.reserve(ranks_.size() - elsewhere_.size());
  for (std::uint32_t rank = 0; rank < size(); ++rank) {
    if (!options_.is_elsewhere(rank)) status.ranks.push_back(ranks_[rank].state);
  }
  status.barrier = barrier_.status();
  status.group_barriers = groups_.status(kMaxReportedGroupBarriers);
  status.open_group_barriers = groups_.open();
  status.kvs_entries = kvs_.size();
  status.rejected = std::accumulate(counters_.refused.begin(), counters_.refused.end(), std::uint64_t{0});
  status.unidentified = auth_.unidentified();
  return status;
}

void ProcessGroup::reject(const Peer& peer, Refusal kind, std::string reason, Effects& effects,
                          std::int32_t rank) {
  counters_.count(kind);
  Event event{.type = EventType::rejected, .rank = rank};
  event.message = std::move(reason);
  event.peer = peer;
  effects.event(std::move(event));
}

void ProcessGroup::connected(std::uint32_t rank, ConnectionId connection) {
  // A rank that has left is back: the driver has made another channel for it, or it has reconnected.
  if (ranks_[rank].departed) {
    ranks_[rank].aborted = false;
    come_back(rank);
  }
  ranks_[rank].again = ranks_[rank].state != RankState::absent;
  ranks_[rank].state = resumes(rank) ? RankState::initialized : RankState::connected;
  ranks_[rank].connection = connection;
}

bool ProcessGroup::resumes(std::uint32_t rank) const {
  return options_.auth.reconnect && ranks_[rank].passed_barrier;
}

void ProcessGroup::come_back(std::uint32_t rank) {
  if (!std::exchange(ranks_[rank].departed, false)) return;
  std::erase(departed_, rank);
  groups_.come_back(rank);
  stuck_reported_ = false;
}

Barrier::Entry ProcessGroup::enter_barrier(std::uint32_t rank, Effects& effects) {
  const Barrier::Entry entry = barrier_.enter(rank);
  const bool enters = entry == Barrier::Entry::waiting || entry == Barrier::Entry::complete;
  if (enters && barrier_.number() < options_.reported_entries) {
    effects.event(
        {.type = EventType::entered, .rank = static_cast<std::int32_t>(rank), .barrier = barrier_.number()});
  }
  switch (entry) {
    case Barrier::Entry::waiting:
      report_if_stuck(effects);
      break;
    case Barrier::Entry::twice:
      break;
    case Barrier::Entry::complete:
      if (elsewhere_.empty()) {
        release_all(effects);
        break;
      }
      barrier_.hold();
      effects.ask(FenceQuery{barrier_.number(), kvs_.take_new()});
      report_if_stuck(effects);
      break;
    case Barrier::Entry::missed:
      find(*ranks_[rank].connection)->write_barrier_out(effects);
      break;
  }
  return entry;
}

std::string ProcessGroup::finish_fence(std::uint64_t number, std::string keys, Effects& effects) {
  if (!barrier_.held() || number != barrier_.number()) {
    return "barrier " + std::to_string(number) + " is not the one that waits for the other hosts";
  }
  if (std::string error = check_entries(keys); !error.empty()) return error;
  kvs_.store(std::move(keys));
  release_all(effects);
  return {};
}

void ProcessGroup::release_all(Effects& effects) {
  const std::uint64_t number = barrier_.number();
  send_releases(effects);
  if (barrier_.held()) {
    for (std::uint32_t rank = 0; rank < size(); ++rank) {
      // After finalize another program of the rank starts anew.
      if (barrier_.is_absent(rank) && ranks_[rank].state != RankState::finalized)
        ranks_[rank].passed_barrier = true;
    }
  }
  barrier_.finish();
  effects.event({.type = EventType::barrier, .barrier = number});
}

void ProcessGroup::send_releases(Effects& effects) {
  // Connections with the same reply share its bytes.
  using Form = ServerSession::BarrierForm;
  std::uint32_t left = barrier_.waiting();
  for (const Form form : {Form::plain, Form::tagged, Form::frame, Form::own}) {
    const std::size_t offset = effects.mark();
    bool written = false;
    for (std::uint32_t rank = 0; rank < size(); ++rank) {
      if (!barrier_.inside(rank)) continue;
      Rank& released = ranks_[rank];
      const ServerSession& session = *find(*released.connection);
      if (session.barrier_form() != form) continue;
      --left;
      released.passed_barrier = true;
      if (form == Form::own) {
        session.write_barrier_out(effects);
        continue;
      }
      if (!std::exchange(written, true)) session.append_barrier_out(effects);
      effects.share(*released.connection, offset);
    }
    if (left == 0) return;
  }
}

bool ProcessGroup::has_members_elsewhere(const wire::BarrierGroup& group) const {
  // The ranks of a node are on one host.
  if (elsewhere_.empty() || group.kind == wire::BarrierGroup::Kind::node) return false;
  if (group.kind == wire::BarrierGroup::Kind::world) return true;
  return std::ranges::any_of(group.ranks, [this](const wire::RankRange& range) {
    const auto found = std::ranges::lower_bound(elsewhere_, range.first);
    return found != elsewhere_.end() && *found <= range.last;
  });
}

GroupBarriers::Result ProcessGroup::enter_group(std::uint32_t rank, const wire::BarrierGroup& group,
                                                std::string_view text, Effects& effects) {
  if (has_members_elsewhere(group)) {
    GroupBarriers::Result result = groups_elsewhere_.enter(rank, group);
    if (result.entry != GroupBarriers::Entry::waiting) return result;
    const QueryId id = ++last_query_;
    barrier_queries_.emplace(id, PendingBarrier{*ranks_[rank].connection, rank, group});
    effects.ask(BarrierQuery{id, rank, std::string(text)});
    return result;
  }
  GroupBarriers::Result result = groups_.enter(rank, group);
  if (result.entry != GroupBarriers::Entry::complete) return result;
  const std::size_t offset = effects.mark();
  append_group_release(group.tag, effects);
  for (const GroupBarriers::Member& released : result.released) {
    Rank& member = ranks_[released.rank];
    member.passed_barrier = true;
    if (released.rank != rank) find(*member.connection)->end_deferred();
    effects.share(*member.connection, offset);
  }
  return result;
}

void ProcessGroup::answer_barrier(QueryId id, bool complete, std::uint32_t gone, Effects& effects) {
  const auto entry = barrier_queries_.find(id);
  if (entry == barrier_queries_.end()) return;
  const PendingBarrier pending = std::move(entry->second);
  barrier_queries_.erase(entry);
  groups_elsewhere_.leave(pending.rank, pending.group);
  ServerSession& session = *find(pending.connection);
  session.end_deferred();
  if (!complete) return session.write_group_failure(gone, pending.group.tag, effects);
  ranks_[pending.rank].passed_barrier = true;
  const std::size_t offset = effects.mark();
  append_group_release(pending.group.tag, effects);
  effects.share(pending.connection, offset);
}

void ProcessGroup::answer_waiters(const std::vector<NodeAttributes::Waiter>& waiters, std::string_view value,
                                  Effects& effects) {
  for (const auto& waiter : waiters) {
    ServerSession& session = *find(waiter.connection);
    session.end_deferred();
    session.write_attribute(wire::MessageId::get_node_attribute_result, waiter.thrid, value, effects);
  }
}

void ProcessGroup::ask_spawn(std::uint32_t rank, ConnectionId connection, std::string_view thrid,
                             SpawnRequest request, Effects& effects) {
  std::uint64_t processes = 0;
  for (const SpawnCommand& command : request.commands) processes += command.ranks;
  const QueryId id = ++last_query_;
  spawn_queries_.emplace(id, PendingSpawn{connection, std::string(thrid), processes});
  effects.ask(SpawnQuery{id, rank, std::move(request)});
}

void ProcessGroup::answer_spawn(QueryId id, const SpawnAnswer& answer, Effects& effects) {
  const auto entry = spawn_queries_.find(id);
  if (entry == spawn_queries_.end()) return;
  const PendingSpawn pending = std::move(entry->second);
  spawn_queries_.erase(entry);
  ServerSession& session = *find(pending.connection);
  session.end_deferred();
  SpawnAnswer result = answer;
  if (result.rc == kSuccess && !result.kvsname.empty() && !is_kvsname(result.kvsname)) {
    result = {.rc = kFail, .message = "bad_kvsname"};
  }
  if (result.rc == kSuccess && !result.errcodes.empty() && result.errcodes.size() != pending.processes) {
    result = {.rc = kFail, .message = "wrong_count_of_errcodes"};
  }
  session.write_spawn_result(pending.thrid, result, effects);
}

void ProcessGroup::ask_name(std::uint32_t rank, ConnectionId connection, std::string_view thrid,
                            wire::MessageId reply, NameRequest request, Effects& effects) {
  const QueryId id = ++last_query_;
  name_queries_.emplace(id, PendingName{connection, std::string(thrid), reply});
  effects.ask(NameQuery{id, rank, std::move(request)});
}

void ProcessGroup::answer_name(QueryId id, const NameAnswer& answer, Effects& effects) {
  const auto entry = name_queries_.find(id);
  if (entry == name_queries_.end()) return;
  const PendingName pending = std::move(entry->second);
  name_queries_.erase(entry);
  ServerSession& session = *find(pending.connection);
  session.end_deferred();
  session.write_name_result(pending.reply, pending.thrid, answer, effects);
}

void ProcessGroup::forget_deferred(std::uint32_t rank, ConnectionId connection) {
  groups_.leave(rank);
  groups_elsewhere_.leave(rank);
  attributes_.forget(connection);
  const auto is_its_own = [&](const auto& entry) { return entry.second.connection == connection; };
  std::erase_if(spawn_queries_, is_its_own);
  std::erase_if(name_queries_, is_its_own);
  std::erase_if(barrier_queries_, is_its_own);
}

void ProcessGroup::rank_disconnected(std::uint32_t rank, std::string cut_off, Effects& effects) {
  Rank& entry = ranks_[rank];
  const bool lost = entry.state == RankState::initialized && !options_.auth.reconnect;
  // An inherited channel is the only one that its process has. Without it the rank enters no barrier any
  // more, even if its process runs on.
  const bool cannot_return = entry.state == RankState::connected &&
                             find(*entry.connection)->peer().transport == Transport::inherited_fd;
  if (entry.state != RankState::finalized) entry.state = RankState::disconnected;
  if (find(*entry.connection)->has_deferred()) forget_deferred(rank, *entry.connection);
  entry.connection.reset();
  const bool in_barrier = barrier_.leave(rank);
  auth_.leave(rank);
  effects.event({.type = EventType::disconnected,
                 .rank = static_cast<std::int32_t>(rank),
                 .lost = lost,
                 .again = entry.again,
                 .in_barrier = in_barrier,
                 .barrier = barrier_.number(),
                 .message = std::move(cut_off)});
  if (lost || cannot_return) depart(rank, effects);
}

void ProcessGroup::finalized(std::uint32_t rank, Effects& effects) {
  Rank& entry = ranks_[rank];
  entry.state = RankState::finalized;
  if (find(*entry.connection)->has_deferred()) forget_deferred(rank, *entry.connection);
  effects.event({.type = EventType::finalized, .rank = static_cast<std::int32_t>(rank)});
  // Under `reconnect` the rank's process may be a script that starts another PMI program, which initializes
  // anew. The rank then leaves only when its process ends.
  entry.passed_barrier = false;
  barrier_.leave(rank);
  if (!options_.auth.reconnect || !auth_.has_launcher()) depart(rank, effects);
}

void ProcessGroup::depart(std::uint32_t rank, Effects& effects) {
  barrier_.leave(rank);
  if (ranks_[rank].state == RankState::finalized) auth_.retire(rank);
  if (!std::exchange(ranks_[rank].departed, true)) {
    departed_.push_back(rank);
    for (const auto& [waiting, tag] : groups_.depart(rank)) {
      ServerSession& session = *find(*ranks_[waiting.rank].connection);
      session.end_deferred();
      session.write_group_failure(rank, tag, effects);
    }
  }
  report_if_stuck(effects);
}

void ProcessGroup::report_if_stuck(Effects& effects) {
  if (stuck_reported_ || departed_.empty() || !barrier_.under_way()) return;
  // If the barrier is held, all ranks that are here have entered it.
  const auto first = std::ranges::find_if(
      departed_, [this](std::uint32_t rank) { return !barrier_.held() || options_.is_elsewhere(rank); });
  if (first == departed_.end()) return;
  stuck_reported_ = true;
  effects.event(
      {.type = EventType::stuck, .rank = static_cast<std::int32_t>(*first), .barrier = barrier_.number()});
}

}  // namespace wireup::engine
