// Questions for the state of all ranks. Each goes to several hosts, and is answered when all of them have
// replied or are lost.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "engine/process_group.h"
#include "os/unique_function.h"
#include "runtime/notice.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class StatusQueries {
 public:
  using Replies = std::map<std::uint32_t, wire::agent::StatusReply>;  // by host
  using OnReplies = os::UniqueFunction<void(Replies)>;

  // Returns the number of the query, under which these hosts have to be asked. `on_replies` is called once;
  // at once if there is no host.
  std::uint32_t add(std::set<std::uint32_t> hosts, OnReplies on_replies);
  // Replies that were not asked for are ignored.
  void reply(std::uint32_t host, wire::agent::StatusReply reply);
  // No reply of the host is to be expected any more.
  void lose(std::uint32_t host);
  // No reply of any host is to be expected any more.
  void lose_all();

 private:
  struct Query {
    std::set<std::uint32_t> missing;  // hosts
    Replies replies;
    OnReplies on_replies;
  };

  void complete_finished();

  std::map<std::uint32_t, Query> queries_;
  std::uint32_t last_ = 0;
};

// Joins the parts of the hosts to the status of one process group. `ranks` are the states as the launcher
// knows them, for ranks whose host has not replied. `places` is the host of each rank.
engine::ProcessGroupStatus join_status(std::uint32_t group, std::vector<engine::RankState> ranks,
                                       const std::vector<std::uint32_t>& places,
                                       const StatusQueries::Replies& replies);

// The sum of what the hosts have counted, and the keys of the host with the most. Counters that are not valid
// are left out. `barriers` is 0, because the launcher counts them.
Totals join_counters(const StatusQueries::Replies& replies);

}  // namespace wireup::runtime
