#include "runtime/engine_messages.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "wire/limits.h"
#include "wire/printable.h"

namespace wireup::runtime {
namespace {

namespace agent = wire::agent;

// Bytes of the texts of an event: more than the engine puts into them. The message of an abort is the rank's.
constexpr std::size_t kMaxEventText = 4 << 10;
constexpr std::size_t kMaxAbortMessage = 64 << 10;

// The rank of an event that is not about a rank.
constexpr std::int32_t kNoRank = -1;

bool has_rank(engine::EventType type) {
  switch (type) {
    case engine::EventType::connected:
    case engine::EventType::initialized:
    case engine::EventType::finalized:
    case engine::EventType::aborted:
    case engine::EventType::disconnected:
    case engine::EventType::stuck:
    case engine::EventType::entered:
      return true;
    case engine::EventType::barrier:
    case engine::EventType::rejected:
    case engine::EventType::protocol_error:
      return false;
  }
  return false;
}

agent::Peer to_message(const engine::Peer& peer) {
  return {.transport = static_cast<std::uint8_t>(peer.transport),
          .uid = peer.uid ? static_cast<std::int64_t>(*peer.uid) : -1,
          .pid = peer.pid.value_or(0),
          .address = peer.address,
          .host = peer.host,
          .unknown = peer.unknown};
}

std::optional<engine::Peer> peer_from_message(agent::Peer peer) {
  if (peer.transport >= wire::kTransportNames.size()) return std::nullopt;
  if (peer.uid < -1 || peer.uid > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  engine::Peer result;
  result.transport = static_cast<wire::Transport>(peer.transport);
  if (peer.uid >= 0) result.uid = static_cast<std::uint32_t>(peer.uid);
  if (peer.pid != 0) result.pid = peer.pid;
  result.address = wire::cut(peer.address, kMaxEventText);
  result.host = wire::cut(peer.host, kMaxEventText);
  result.unknown = wire::cut(peer.unknown, kMaxEventText);
  return result;
}

bool all_below(const std::vector<std::uint32_t>& ranks, std::uint32_t size) {
  return std::ranges::all_of(ranks, [size](std::uint32_t rank) { return rank < size; });
}

}  // namespace

agent::EventRecord to_message(const engine::Event& event) {
  return {.type = static_cast<std::uint8_t>(event.type),
          .rank = event.rank,
          .exit_code = event.exit_code,
          .lost = event.lost,
          .again = event.again,
          .in_barrier = event.in_barrier,
          .barrier = event.barrier,
          .version = event.version,
          .subversion = event.subversion,
          .message = event.message,
          .peer = to_message(event.peer)};
}

std::optional<engine::Event> from_message(agent::EventRecord record, std::uint32_t size) {
  if (record.type >= engine::kEventTypes) return std::nullopt;
  const auto type = static_cast<engine::EventType>(record.type);
  const bool no_rank = record.rank == kNoRank && !has_rank(type);
  if (!no_rank && (record.rank < 0 || static_cast<std::uint32_t>(record.rank) >= size)) return std::nullopt;
  auto peer = peer_from_message(std::move(record.peer));
  if (!peer) return std::nullopt;
  const bool aborted = type == engine::EventType::aborted;
  return engine::Event{
      .type = type,
      .rank = record.rank,
      .exit_code = record.exit_code,
      .lost = record.lost,
      .again = record.again,
      .in_barrier = record.in_barrier,
      .barrier = record.barrier,
      .version = record.version,
      .subversion = record.subversion,
      .message = std::string(wire::cut(record.message, aborted ? kMaxAbortMessage : kMaxEventText)),
      .peer = *std::move(peer)};
}

agent::SpawnQuery to_message(std::uint32_t group, engine::SpawnQuery query) {
  agent::SpawnQuery result;
  result.group = group;
  result.query = query.id;
  result.rank = query.rank;
  for (engine::SpawnCommand& command : query.spawn.commands) {
    result.commands.push_back({.program = std::move(command.program),
                               .args = std::move(command.args),
                               .ranks = command.ranks,
                               .info = std::move(command.info)});
  }
  result.preput = std::move(query.spawn.preput);
  return result;
}

std::optional<engine::SpawnQuery> from_message(agent::SpawnQuery query, std::uint32_t size) {
  if (query.rank >= size) return std::nullopt;
  engine::SpawnQuery result{.id = query.query, .rank = query.rank, .spawn = {}};
  for (agent::SpawnCommand& command : query.commands) {
    result.spawn.commands.push_back({.program = std::move(command.program),
                                     .args = std::move(command.args),
                                     .ranks = command.ranks,
                                     .info = std::move(command.info)});
  }
  result.spawn.preput = std::move(query.preput);
  return result;
}

agent::SpawnAnswer to_message(std::uint32_t group, engine::QueryId query, engine::SpawnAnswer answer) {
  return {.group = group,
          .query = query,
          .rc = answer.rc,
          .message = std::move(answer.message),
          .kvsname = std::move(answer.kvsname),
          .errcodes = std::move(answer.errcodes)};
}

engine::SpawnAnswer from_message(agent::SpawnAnswer answer) {
  return {.rc = answer.rc,
          .message = std::move(answer.message),
          .kvsname = std::move(answer.kvsname),
          .errcodes = std::move(answer.errcodes)};
}

agent::NameQuery to_message(std::uint32_t group, engine::NameQuery query) {
  return {.group = group,
          .query = query.id,
          .rank = query.rank,
          .operation = static_cast<std::uint8_t>(query.request.operation),
          .service = std::move(query.request.service),
          .port = std::move(query.request.port)};
}

std::optional<engine::NameQuery> from_message(agent::NameQuery query, std::uint32_t size) {
  if (query.rank >= size || query.operation > static_cast<std::uint8_t>(engine::NameOperation::lookup))
    return std::nullopt;
  // What a rank sends is one frame at most.
  if (query.service.size() > wire::kMaxFrame || query.port.size() > wire::kMaxFrame) return std::nullopt;
  return engine::NameQuery{.id = query.query,
                           .rank = query.rank,
                           .request = {.operation = static_cast<engine::NameOperation>(query.operation),
                                       .service = std::move(query.service),
                                       .port = std::move(query.port)}};
}

agent::NameAnswer to_message(std::uint32_t group, engine::QueryId query, engine::NameAnswer answer) {
  return {.group = group,
          .query = query,
          .error = static_cast<std::uint8_t>(answer.error),
          .port = std::move(answer.port)};
}

std::optional<engine::NameAnswer> from_message(agent::NameAnswer answer) {
  if (answer.error > static_cast<std::uint8_t>(engine::NameError::gone)) return std::nullopt;
  return engine::NameAnswer{.error = static_cast<engine::NameError>(answer.error),
                            .port = std::move(answer.port)};
}

agent::GroupStatus to_message(std::uint32_t group, const engine::ProcessGroupStatus& status) {
  agent::GroupStatus result;
  result.group = group;
  for (const engine::RankState state : status.ranks) result.ranks.push_back(static_cast<std::uint8_t>(state));
  result.barrier = status.barrier.number;
  result.inside = status.barrier.inside;
  for (const engine::GroupBarrierStatus& barrier : status.group_barriers)
    result.barrier_groups.push_back({barrier.tag, barrier.inside, barrier.missing});
  result.open_barrier_groups = status.open_group_barriers;
  result.kvs_entries = status.kvs_entries;
  result.rejected = status.rejected;
  result.unidentified = status.unidentified;
  return result;
}

std::optional<engine::ProcessGroupStatus> from_message(agent::GroupStatus status, std::uint32_t size) {
  engine::ProcessGroupStatus result;
  for (const std::uint8_t state : status.ranks) {
    if (state > static_cast<std::uint8_t>(engine::RankState::disconnected)) return std::nullopt;
    result.ranks.push_back(static_cast<engine::RankState>(state));
  }
  if (!all_below(status.inside, size)) return std::nullopt;
  result.barrier = {.number = status.barrier, .inside = std::move(status.inside), .missing = {}};
  for (agent::BarrierGroupStatus& barrier : status.barrier_groups) {
    if (!all_below(barrier.inside, size) || !all_below(barrier.missing, size)) return std::nullopt;
    result.group_barriers.push_back({barrier.tag, std::move(barrier.inside), std::move(barrier.missing)});
  }
  result.open_group_barriers = status.open_barrier_groups;
  result.kvs_entries = status.kvs_entries;
  result.rejected = status.rejected;
  result.unidentified = status.unidentified;
  return result;
}

agent::HostCounters to_message(const engine::Counters& counters) {
  const auto list = [](const auto& array) { return std::vector<std::uint64_t>(array.begin(), array.end()); };
  agent::HostCounters message;
  message.requests = list(counters.requests);
  message.refused = list(counters.refused);
  message.invalid = counters.invalid;
  message.received = counters.received;
  message.sent = counters.sent;
  message.barriers = list(counters.barriers);
  message.barrier_time = counters.barrier_time;
  return message;
}

std::optional<engine::Counters> from_message(const agent::HostCounters& message) {
  engine::Counters counters;
  const auto fill = [](auto& array, const std::vector<std::uint64_t>& list) {
    return list.size() == array.size() && (std::ranges::copy(list, array.begin()), true);
  };
  if (!fill(counters.requests, message.requests) || !fill(counters.refused, message.refused) ||
      !fill(counters.barriers, message.barriers))
    return std::nullopt;
  counters.invalid = message.invalid;
  counters.received = message.received;
  counters.sent = message.sent;
  counters.barrier_time = message.barrier_time;
  return counters;
}

std::vector<agent::PlaceRun> to_runs(const engine::Layout& layout) {
  std::vector<agent::PlaceRun> runs;
  for (std::uint32_t rank = 0; rank < layout.size(); ++rank) {
    const engine::Place& place = layout.place(rank);
    if (rank > 0 && place == layout.place(rank - 1)) {
      ++runs.back().count;
    } else {
      runs.push_back({1, place.node, place.appnum});
    }
  }
  return runs;
}

engine::Layout to_layout(const std::vector<agent::PlaceRun>& runs) {
  std::vector<engine::Place> places;
  for (const agent::PlaceRun& run : runs) {
    if (run.count > kMaxRanks - places.size()) throw std::invalid_argument("ranks: too many");
    places.insert(places.end(), run.count, {run.node, run.appnum});
  }
  return engine::Layout(std::move(places));
}

engine::ProcessGroupOptions to_process_group_options(const agent::Group& group) {
  engine::ProcessGroupOptions options;
  options.kvsname = group.kvsname;
  options.layout = to_layout(group.layout);
  if (group.universe_size != 0) options.universe_size = group.universe_size;
  options.offer_1_2 = group.offer_1_2;
  options.strict = group.strict;
  options.reported_entries = group.reported_entries;
  options.spawner = group.spawner;
  options.preput = group.preput;
  for (const auto& [first, last] : group.allowed_uids) options.auth.allowed_uids.emplace_back(first, last);
  for (const std::string& host : group.allowed_hosts) {
    const auto parsed = wire::parse_host_range(host);
    if (!parsed.range) throw std::invalid_argument("allowed hosts: " + parsed.error.reason);
    options.auth.allowed_hosts.push_back(*parsed.range);
  }
  options.auth.handshake_timeout = std::chrono::milliseconds(group.handshake_timeout_ms);
  options.auth.reconnect = group.reconnect;
  options.auth.descendants_only = group.descendants_only;
  return options;
}

ListenOptions to_listen_options(const agent::Group& group) {
  ListenOptions options;
  if (group.pmi == agent::PmiMode::fd) return options;
  if (!group.address.empty()) {
    auto parsed = wire::parse_address(group.address);
    if (!parsed.address) throw std::invalid_argument("address: " + parsed.error.reason);
    options.address = std::move(parsed.address);
  }
  constexpr std::uint32_t kLastPort = 0xffff;
  if (group.first_port > kLastPort || group.last_port > kLastPort)
    throw std::invalid_argument("ports: expected at most 65535");
  if (group.first_port != 0) {
    options.ports.emplace(static_cast<std::uint16_t>(group.first_port),
                          static_cast<std::uint16_t>(group.last_port));
  }
  for (const agent::PrivateParent& parent : group.private_parents)
    options.private_parents.push_back({parent.variable, parent.path});
  return options;
}

}  // namespace wireup::runtime
