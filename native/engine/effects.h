// Effects: the engine's output. The engine does no I/O and calls nothing outside. Every input (bytes, the end
// of a connection, time, the end of a process) appends to an Effects. The driver executes the list in order,
// then clears and reuses it.
//
// Threads: an Effects belongs to the thread that drives the engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engine/names.h"
#include "engine/peer.h"
#include "engine/spawn.h"

namespace wireup::engine {

// Chosen by the driver. The engine keeps a table indexed by it, so ids should be small. An id may be used
// again after the engine has closed the connection (Close) or was informed of its end (ProcessGroup::eof()).
using ConnectionId = std::uint32_t;

// Send these bytes on one connection. They are a slice of Effects::bytes().
struct Send {
  ConnectionId connection;
  std::size_t offset;
  std::size_t size;
};

// Close the connection after all earlier bytes have been written. The engine has forgotten it.
struct Close {
  ConnectionId connection;
};

// Each comment begins with the fields of Event that the type uses.
enum class EventType : std::uint8_t {
  // rank, peer, again: a connection has identified itself as the rank. again: not the rank's first one.
  connected,
  // rank, version, subversion, again: the rank has sent init.
  initialized,
  // barrier: all ranks have completed the barrier with this number, counted from 0.
  barrier,
  // rank: it has sent finalize.
  finalized,
  // rank, exit_code, message, in_barrier, barrier: the rank's first abort.
  aborted,
  // rank, lost, again, in_barrier, barrier, message: the rank's connection has ended. lost: between init and
  // finalize. in_barrier: the rank waited in that barrier. message: why the server closed the connection;
  // empty: the peer closed it.
  disconnected,
  // peer, message, rank: a connection was refused. rank: that of the channel it came on; -1: of a listener.
  rejected,
  // rank (-1: not known yet), message: an invalid request. The peer gets an error reply if the protocol
  // permits one.
  protocol_error,
  // rank, barrier: ranks wait in the barrier and cannot complete it. rank: the first rank that has left. A
  // rank that is elsewhere may have left after it had entered the barrier; then the barrier completes
  // nevertheless, and the next one cannot.
  // Reported once; again only after a rank that had left has connected again.
  stuck,
  // rank, barrier: the rank has entered the barrier of all ranks. Only of the first
  // ProcessGroupOptions::reported_entries barriers.
  entered,
};

inline constexpr std::size_t kEventTypes = static_cast<std::size_t>(EventType::entered) + 1;

struct Event {
  EventType type;
  std::int32_t rank = -1;
  std::int32_t exit_code = 0;
  bool lost = false;
  // Of `finalized`, `aborted` and `stuck` the engine leaves it false. The launcher of a job over hosts sets
  // it for all but the first of a rank.
  bool again = false;
  bool in_barrier = false;
  std::uint64_t barrier = 0;
  std::uint32_t version = 0;  // the agreed version of PMI
  std::uint32_t subversion = 0;
  std::string message = {};
  Peer peer = {};
};

// Whether peers can cause any number of such events. Of all others there are only a few for each rank.
bool is_repeatable(const Event& event);

// A question that only the driver can answer. The driver answers each one once, by a method of ProcessGroup.
using QueryId = std::uint64_t;

struct SpawnQuery {
  QueryId id;
  std::uint32_t rank;
  SpawnRequest spawn;
};

// Only if the names are kept elsewhere (ProcessGroupOptions::names_elsewhere).
struct NameQuery {
  QueryId id;
  std::uint32_t rank;
  NameRequest request;
};

// All ranks that are here have entered the barrier of all ranks, and some ranks are elsewhere
// (ProcessGroupOptions::elsewhere). When all ranks everywhere have entered it, the driver calls
// ProcessGroup::finish_fence().
struct FenceQuery {
  std::uint64_t number;  // of the barrier
  // What was put here since the last FenceQuery, each key once; see wire/key_values.h.
  std::string keys;
};

// A rank has entered the barrier of a barrier group that has members elsewhere. Answered by
// ProcessGroup::answer_barrier(). When the driver sees an event that the rank has finalized or its connection
// has ended, the rank is no longer inside.
struct BarrierQuery {
  QueryId id;
  std::uint32_t rank;
  std::string group;  // as the rank has sent it, valid for wire::parse_barrier_group()
};

// Large effects are rare and allocated separately: the list of a barrier has a Send for each rank, so its
// elements must be small.
using Effect =
    std::variant<Send, Close, std::unique_ptr<Event>, std::unique_ptr<SpawnQuery>, std::unique_ptr<NameQuery>,
                 std::unique_ptr<FenceQuery>, std::unique_ptr<BarrierQuery>>;

// The effect as a T; null if it is something else. `EffectOrConst` is Effect or const Effect.
template <typename T, typename EffectOrConst>
auto as(EffectOrConst& effect) -> std::conditional_t<std::is_const_v<EffectOrConst>, const T*, T*> {
  if constexpr (std::is_same_v<T, Send> || std::is_same_v<T, Close>) {
    return std::get_if<T>(&effect);
  } else {
    auto* box = std::get_if<std::unique_ptr<T>>(&effect);
    return box == nullptr ? nullptr : box->get();
  }
}

class Effects {
 public:
  std::span<const Effect> list() const { return list_; }
  // The driver may move the effects out.
  std::span<Effect> list() { return list_; }
  std::string_view bytes(const Send& send) const {
    return std::string_view(buffer_).substr(send.offset, send.size);
  }
  bool empty() const { return list_.empty(); }
  // Keeps the memory for reuse.
  void clear() {
    list_.clear();
    buffer_.clear();
  }

  // For the engine only. Consecutive sends on one connection are merged.
  void send(ConnectionId connection, std::string_view bytes);
  // To send the same bytes on many connections: call mark(), append to buffer(), then call share() for each.
  std::size_t mark() const { return buffer_.size(); }
  std::string& buffer() { return buffer_; }
  // Sends everything appended to buffer() since `offset`.
  void share(ConnectionId connection, std::size_t offset);
  void close(ConnectionId connection) { list_.emplace_back(Close{connection}); }
  template <typename Query>
  void ask(Query query) {
    list_.emplace_back(std::make_unique<Query>(std::move(query)));
  }
  void event(Event event) { list_.emplace_back(std::make_unique<Event>(std::move(event))); }

 private:
  std::vector<Effect> list_;
  std::string buffer_;
};

}  // namespace wireup::engine
