// Conversions between the structs of the engine and the messages of a launch's tree (wire/agent_messages.h).
//
// A message may come from a process that is not trusted to be correct. So from_message() returns nothing for
// values that the engine's types do not have, and for ranks that are not below `size`, the size of the
// process group.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/effects.h"
#include "engine/layout.h"
#include "engine/process_group.h"
#include "runtime/server_driver.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

// Peer::lineage is not sent: only the engine beside the server uses it.
wire::agent::EventRecord to_message(const engine::Event& event);
std::optional<engine::Event> from_message(wire::agent::EventRecord record, std::uint32_t size);

wire::agent::SpawnQuery to_message(std::uint32_t group, engine::SpawnQuery query);
std::optional<engine::SpawnQuery> from_message(wire::agent::SpawnQuery query, std::uint32_t size);
wire::agent::SpawnAnswer to_message(std::uint32_t group, engine::QueryId query, engine::SpawnAnswer answer);
engine::SpawnAnswer from_message(wire::agent::SpawnAnswer answer);

wire::agent::NameQuery to_message(std::uint32_t group, engine::NameQuery query);
std::optional<engine::NameQuery> from_message(wire::agent::NameQuery query, std::uint32_t size);
wire::agent::NameAnswer to_message(std::uint32_t group, engine::QueryId query, engine::NameAnswer answer);
std::optional<engine::NameAnswer> from_message(wire::agent::NameAnswer answer);

// The part of one host in the status of a process group: as engine::ProcessGroup has it, but without
// `barrier.missing`.
wire::agent::GroupStatus to_message(std::uint32_t group, const engine::ProcessGroupStatus& status);
std::optional<engine::ProcessGroupStatus> from_message(wire::agent::GroupStatus status, std::uint32_t size);

// The counters in the message. Empty: it has not one number for each message, refusal and bucket.
wire::agent::HostCounters to_message(const engine::Counters& counters);
std::optional<engine::Counters> from_message(const wire::agent::HostCounters& message);

std::vector<wire::agent::PlaceRun> to_runs(const engine::Layout& layout);
// Throws std::invalid_argument as the constructor of Layout does, and for more than kMaxRanks ranks.
engine::Layout to_layout(const std::vector<wire::agent::PlaceRun>& runs);
inline constexpr std::uint32_t kMaxRanks = 1 << 20;  // MAX_RANKS of lib/limits.ts

// The options of the group's server, except those that its agent decides: `elsewhere`, `names_elsewhere`,
// `space` and `auth.pmi_ids`. Throws std::invalid_argument for a layout or an allowed host that is not valid.
engine::ProcessGroupOptions to_process_group_options(const wire::agent::Group& group);
// Where it listens: nowhere in mode `fd`. Throws std::invalid_argument for an invalid address or port.
ListenOptions to_listen_options(const wire::agent::Group& group);

}  // namespace wireup::runtime
