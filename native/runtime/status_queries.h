// Questions for the state of all ranks, and how the replies of the hosts are joined.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/process_group.h"
#include "runtime/host_queries.h"
#include "runtime/notice.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

using StatusQueries = HostQueries<wire::agent::StatusReply>;

// Joins the parts of the hosts to the status of one process group. `ranks` are the states as the launcher
// knows them, for ranks whose host has not replied. `places` is the host of each rank.
engine::ProcessGroupStatus join_status(std::uint32_t group, std::vector<engine::RankState> ranks,
                                       const std::vector<std::uint32_t>& places,
                                       const StatusQueries::Replies& replies);

// The sum of what the hosts have counted, and the keys of the host with the most. Counters that are not valid
// are left out. `barriers` is 0, because the launcher counts them.
Totals join_counters(const StatusQueries::Replies& replies);

}  // namespace wireup::runtime
