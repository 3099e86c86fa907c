// Questions to the agents of several hosts. Each is answered when all of its hosts have replied or are lost.
//
// Threads: the reactor's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "os/unique_function.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

// Adds a part to the reply of a host, and returns whether the reply is complete.
inline bool join(wire::agent::StatusReply& reply, wire::agent::StatusReply part) {
  reply = std::move(part);
  return true;
}
inline bool join(wire::agent::InspectReply& reply, wire::agent::InspectReply part) {
  std::ranges::move(part.ranks, std::back_inserter(reply.ranks));
  return part.last;
}

template <typename Reply>
class HostQueries {
 public:
  using Replies = std::map<std::uint32_t, Reply>;  // by host
  using OnReplies = os::UniqueFunction<void(Replies)>;

  // Returns the number of the query, under which these hosts have to be asked. `on_replies` is called once;
  // at once if there is no host. It may ask again.
  std::uint32_t add(std::set<std::uint32_t> hosts, OnReplies on_replies) {
    const std::uint32_t id = ++last_;
    queries_.emplace(id, Query{std::move(hosts), {}, std::move(on_replies)});
    complete_finished();
    return id;
  }

  // The reply of the host so far; null if none is expected.
  const Reply* expected(std::uint32_t host, std::uint32_t id) {
    const auto query = queries_.find(id);
    if (query == queries_.end() || !query->second.missing.contains(host)) return nullptr;
    return &query->second.replies[host];
  }

  // Replies that are not expected are ignored.
  void reply(std::uint32_t host, Reply part) {
    const std::uint32_t id = part.id;
    if (expected(host, id) == nullptr) return;
    Query& query = queries_.at(id);
    if (!join(query.replies[host], std::move(part))) return;
    query.missing.erase(host);
    complete_finished();
  }

  // No reply of the host is to be expected any more.
  void lose(std::uint32_t host) {
    for (auto& [id, query] : queries_) query.missing.erase(host);
    complete_finished();
  }
  // No reply of any host is to be expected any more.
  void lose_all() {
    for (auto& [id, query] : queries_) query.missing.clear();
    complete_finished();
  }

 private:
  struct Query {
    std::set<std::uint32_t> missing;  // hosts
    Replies replies;
    OnReplies on_replies;
  };

  void complete_finished() {
    for (;;) {
      const auto done =
          std::ranges::find_if(queries_, [](const auto& entry) { return entry.second.missing.empty(); });
      if (done == queries_.end()) return;
      Query query = std::move(done->second);
      queries_.erase(done);
      query.on_replies(std::move(query.replies));
    }
  }

  std::map<std::uint32_t, Query> queries_;
  std::uint32_t last_ = 0;
};

using InspectQueries = HostQueries<wire::agent::InspectReply>;

}  // namespace wireup::runtime
