#include "engine/process_group.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "engine/result_codes.h"
#include "engine/server_session.h"
#include "wire/clique.h"
#include "wire/codec.h"

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
  for (const PmiId& pmi_id : options.auth.pmi_ids) {
    if (!is_word(pmi_id.text, kMaxKey)) {
      throw std::invalid_argument(
          "pmi_ids: expected words of 1 to 63 bytes without newlines, NUL bytes, '=' or ';'");
    }
  }
  if (!options.names) options.names = std::make_shared<Names>();
  if (!options.space) options.space = std::make_shared<Space>(kDefaultSpace);
  return options;
}

}  // namespace

ProcessGroup::ProcessGroup(ProcessGroupOptions options)
    : options_(checked(std::move(options))),
      share_(options_.space),
      kvs_(share_),
      barrier_(size()),
      groups_(options_.layout),
      attributes_(share_),
      name_owner_(options_.names->join()),
      auth_(options_.auth, size()),
      ranks_(size()) {
  for (const auto& [key, value] : options_.preput) kvs_.preput(key, value);
  // MVAPICH2 fails if the key is missing (flux-core issue 3592), MPICH if its value is empty. A mapping that
  // is too long is therefore left out, as Flux does; MPICH then compares the names of hosts.
  const std::string mapping = options_.layout.process_mapping(kMaxProcessMapping);
  if (!mapping.empty()) kvs_.preput(wire::kProcessMappingKey, mapping);
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
  if (find(connection) != nullptr) throw std::logic_error("open_channel: the connection id is in use");
  if (!auth_.take(rank)) throw std::logic_error("open_channel: the rank has a connection");
  add(connection, std::make_unique<ServerSession>(*this, connection, rank));
  connected(rank, connection);
}

void ProcessGroup::accept(ConnectionId connection, Peer peer, TimePoint now, Effects& effects) {
  if (find(connection) != nullptr) throw std::logic_error("accept: the connection id is in use");
  Authenticator::Admission admission = auth_.admit(connection, peer, now);
  if (admission.evicted) {
    reject(find(*admission.evicted)->peer(),
           "had to make way for a newer connection before it identified itself", effects);
    effects.close(*admission.evicted);
    sessions_[*admission.evicted].reset();
  }
  if (admission.refusal) {
    reject(peer, *std::move(admission.refusal), effects);
    effects.close(connection);
    return;
  }
  add(connection, std::make_unique<ServerSession>(*this, connection, std::move(peer)));
}

void ProcessGroup::receive(ConnectionId connection, std::string_view bytes, Effects& effects) {
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
      reject(find(expired->connection)->peer(),
             "no initack within " + std::to_string(options_.auth.handshake_timeout.count()) + " ms", effects);
    }
    effects.close(expired->connection);
    sessions_[expired->connection].reset();
  }
}

std::optional<TimePoint> ProcessGroup::deadline() const { return auth_.deadline(); }

ProcessGroupStatus ProcessGroup::status() const {
  ProcessGroupStatus status;
  status.ranks.reserve(ranks_.size());
  for (const Rank& rank : ranks_) status.ranks.push_back(rank.state);
  status.barrier = barrier_.status();
  status.group_barriers = groups_.status(kMaxReportedGroupBarriers);
  status.open_group_barriers = groups_.open();
  status.kvs_entries = kvs_.size();
  status.rejected = rejected_;
  status.unidentified = auth_.unidentified();
  return status;
}

void ProcessGroup::reject(const Peer& peer, std::string reason, Effects& effects, std::int32_t rank) {
  ++rejected_;
  Event event{.type = EventType::rejected, .rank = rank};
  event.message = std::move(reason);
  event.peer = peer;
  effects.event(std::move(event));
}

void ProcessGroup::connected(std::uint32_t rank, ConnectionId connection) {
  // A rank that has left is back: the driver has made another channel for it, or it has reconnected.
  if (ranks_[rank].departed) {
    std::erase(departed_, rank);
    ranks_[rank].aborted = false;
    groups_.come_back(rank);
    stuck_reported_ = false;
    ranks_[rank].departed = false;
  }
  ranks_[rank].again = ranks_[rank].state != RankState::absent;
  ranks_[rank].state = resumes(rank) ? RankState::initialized : RankState::connected;
  ranks_[rank].connection = connection;
}

bool ProcessGroup::resumes(std::uint32_t rank) const {
  return options_.auth.reconnect && ranks_[rank].passed_barrier;
}

Barrier::Entry ProcessGroup::enter_barrier(std::uint32_t rank, Effects& effects) {
  const std::uint64_t number = barrier_.number();
  const Barrier::Entry entry = barrier_.enter(rank);
  if (entry == Barrier::Entry::waiting) report_if_stuck(effects);
  if (entry == Barrier::Entry::complete) {
    release_all(effects);
    effects.event({.type = EventType::barrier, .barrier = number});
  }
  return entry;
}

void ProcessGroup::release_all(Effects& effects) {
  // Connections with the same reply share its bytes.
  using Form = ServerSession::BarrierForm;
  std::size_t left = ranks_.size();
  for (const Form form : {Form::plain, Form::tagged, Form::frame, Form::own}) {
    const std::size_t offset = effects.mark();
    bool written = false;
    for (Rank& released : ranks_) {
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

GroupBarriers::Result ProcessGroup::enter_group(std::uint32_t rank, const wire::BarrierGroup& group,
                                                Effects& effects) {
  GroupBarriers::Result result = groups_.enter(rank, group);
  if (result.entry != GroupBarriers::Entry::complete) return result;
  const std::size_t offset = effects.mark();
  wire::MessageWriter(effects.buffer(), wire::MessageId::barrier_out)
      .add(wire::AttributeId::rc, kSuccess)
      .add(wire::AttributeId::tag, group.tag)
      .end();
  for (const std::uint32_t released : result.released) {
    Rank& member = ranks_[released];
    member.passed_barrier = true;
    if (released != rank) find(*member.connection)->end_deferred();
    effects.share(*member.connection, offset);
  }
  return result;
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
  attributes_.forget(connection);
  const auto is_its_own = [&](const auto& entry) { return entry.second.connection == connection; };
  std::erase_if(spawn_queries_, is_its_own);
  std::erase_if(name_queries_, is_its_own);
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
      ServerSession& session = *find(*ranks_[waiting].connection);
      session.end_deferred();
      session.write_group_failure(rank, tag, effects);
    }
  }
  report_if_stuck(effects);
}

void ProcessGroup::report_if_stuck(Effects& effects) {
  if (stuck_reported_ || departed_.empty() || !barrier_.under_way()) return;
  stuck_reported_ = true;
  effects.event({.type = EventType::stuck,
                 .rank = static_cast<std::int32_t>(departed_.front()),
                 .barrier = barrier_.number()});
}

}  // namespace wireup::engine
