#include "runtime/group_trace.h"

#include <utility>

namespace wireup::runtime {
namespace {

// A connection that has identified itself may repeat its PMI_ID. In its fullinit is its plain rank.
bool may_identify(std::string_view message) { return message.starts_with("cmd=initack"); }

}  // namespace

GroupTrace::GroupTrace(std::shared_ptr<Trace> trace, std::uint32_t number, const engine::ProcessGroup& group)
    : trace_(std::move(trace)), number_(number), group_(group) {}

GroupTrace::Connection* GroupTrace::find(engine::ConnectionId id) const {
  return id < connections_.size() ? connections_[id].get() : nullptr;
}

wire::RecordHead GroupTrace::head(engine::ConnectionId id, const Connection& connection,
                                  std::uint64_t time) const {
  wire::RecordHead head{.time = time, .group = number_, .rank = connection.rank};
  if (!head.rank) head.connection = id;
  return head;
}

void GroupTrace::opened(engine::ConnectionId id, std::optional<std::uint32_t> rank) {
  if (id >= connections_.size()) connections_.resize(id + 1);
  connections_[id] = std::make_unique<Connection>();
  connections_[id]->rank = rank;
  connections_[id]->accepted = !rank;
  if (rank) trace_->event(head(id, *connections_[id], now()), {.event = "connected", .peer = "fd"});
}

void GroupTrace::received(engine::ConnectionId id, std::string_view bytes, std::uint64_t time,
                          const engine::Effects& effects) {
  Connection* connection = find(id);
  if (connection == nullptr) return;
  const bool unidentified = !connection->rank;
  if (unidentified) {
    connection->rank = group_.rank_of(id);
    if (connection->rank) record_connected(id, *connection->rank, time, effects);
  }
  while (const auto message = connection->messages.next(wire::Side::client, bytes)) {
    const bool secret = connection->accepted && (unidentified || may_identify(message->content));
    record(id, *connection, wire::Side::client, *message, secret, time);
  }
}

// Readers learn by it whose earlier messages those of the connection were.
void GroupTrace::record_connected(engine::ConnectionId id, std::uint32_t rank, std::uint64_t time,
                                  const engine::Effects& effects) {
  for (const engine::Effect& effect : effects.list()) {
    const auto* event = engine::as<engine::Event>(effect);
    if (event == nullptr || event->type != engine::EventType::connected ||
        event->rank != static_cast<std::int32_t>(rank))
      continue;
    trace_->event(
        {.time = time, .group = number_, .rank = rank, .connection = id},
        {.event = "connected", .peer = event->peer.address, .uid = event->peer.uid, .pid = event->peer.pid});
  }
}

void GroupTrace::record(engine::ConnectionId id, Connection& connection, wire::Side side,
                        const wire::CutMessage& message, bool secret, std::uint64_t time) {
  const wire::RecordHead about = head(id, connection, time);
  if (secret && !trace_->keeps_secrets()) {
    if (const auto masked = wire::mask_secrets(message)) {
      wire::CutMessage shown = message;
      shown.content = *masked;
      return trace_->message(about, side, shown, true);
    }
  }
  trace_->message(about, side, message, false);
}

void GroupTrace::apply(const engine::Effects& effects) {
  const std::uint64_t time = now();
  for (const engine::Effect& effect : effects.list()) {
    if (const auto* send = engine::as<engine::Send>(effect)) {
      Connection* connection = find(send->connection);
      if (connection == nullptr) continue;
      std::string_view bytes = effects.bytes(*send);
      while (const auto message = connection->messages.next(wire::Side::server, bytes))
        record(send->connection, *connection, wire::Side::server, *message, false, time);
    } else if (const auto* close = engine::as<engine::Close>(effect)) {
      if (Connection* connection = find(close->connection)) connection->refused = true;
    } else if (const auto* event = engine::as<engine::Event>(effect)) {
      record(*event);
    }
  }
}

void GroupTrace::record(const engine::Event& event) {
  wire::RecordHead about{.time = now(), .group = number_};
  if (event.rank >= 0) about.rank = static_cast<std::uint32_t>(event.rank);
  wire::RecordedEvent recorded{.event = {}, .reason = event.message};
  switch (event.type) {
    case engine::EventType::rejected:
      recorded.event = "refused";
      recorded.peer = event.peer.address;
      recorded.uid = event.peer.uid;
      recorded.pid = event.peer.pid;
      return trace_->event(about, recorded);
    case engine::EventType::disconnected:
      recorded.event = "closed";
      recorded.lost = event.lost;
      return trace_->event(about, recorded);
    case engine::EventType::protocol_error:
      recorded.event = "protocol-error";
      return trace_->event(about, recorded);
    case engine::EventType::connected:  // see record_connected()
    case engine::EventType::initialized:
    case engine::EventType::barrier:
    case engine::EventType::finalized:
    case engine::EventType::aborted:
    case engine::EventType::stuck:
    case engine::EventType::entered:
      return;
  }
}

void GroupTrace::flush(engine::ConnectionId id, Connection& connection) {
  for (const wire::Side side : {wire::Side::client, wire::Side::server}) {
    if (const auto rest = connection.messages.rest(side))
      record(id, connection, side, *rest, connection.accepted && !connection.rank, now());
  }
}

void GroupTrace::ended(engine::ConnectionId id) {
  Connection* connection = find(id);
  if (connection == nullptr) return;
  flush(id, *connection);
  if (!connection->rank && !connection->refused)
    trace_->event(head(id, *connection, now()), {.event = "closed"});
  connections_[id].reset();
}

void GroupTrace::finish() {
  for (engine::ConnectionId id = 0; id < connections_.size(); ++id) {
    if (connections_[id]) flush(id, *connections_[id]);
  }
  trace_->finish();
}

}  // namespace wireup::runtime
