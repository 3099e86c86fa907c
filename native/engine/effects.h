// What the engine wants done. The engine never does I/O and never calls back: every input (bytes, EOF, time,
// an exit) fills an Effects, and the host carries it out in order, then clears and reuses it.
//
// Threads: none of its own; an Effects belongs to the thread that drives the engine.
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

// Given by the host, small and dense (the engine keeps a table by it). An id may be used again after the
// engine closed the connection (Close) or was told of its end (ProcessGroup::eof).
using ConnectionId = std::uint32_t;

// Bytes for one connection: a slice of Effects::bytes().
struct Send {
  ConnectionId connection;
  std::size_t offset;
  std::size_t size;
};

// Close after what was sent before has been written. The engine has forgotten the connection.
struct Close {
  ConnectionId connection;
};

enum class EventType : std::uint8_t {
  connected,     // rank, peer: a rank's connection is known to be that rank's. again: not its first
  initialized,   // rank, version, again
  barrier,       // barrier: every rank is out of the barrier of that number (from 0)
  finalized,     // rank
  aborted,       // rank, exit_code, message: the rank's first abort; the job ends once
  disconnected,  // rank, lost, again: the connection ended; lost when between init and finalize. in_barrier:
                 // it waited in `barrier`. message: why the server cut the connection off; empty: the peer
                 // hung up
  rejected,      // peer, message: a stranger was refused
  protocol_error,  // rank (-1 before it is known), message: bad input, said to the peer too where it can be
  stuck,  // rank, barrier: ranks wait in the barrier and will for ever, since that rank, the first to
          // leave, is gone. Told once, and again only when a rank that was gone has been back
};

inline constexpr std::size_t kEventTypes = static_cast<std::size_t>(EventType::stuck) + 1;

struct Event {
  EventType type;
  std::int32_t rank = -1;
  std::int32_t exit_code = 0;
  bool lost = false;
  bool again = false;
  bool in_barrier = false;
  std::uint64_t barrier = 0;
  std::uint32_t version = 0;  // PMI version and subversion agreed on
  std::uint32_t subversion = 0;
  std::string message = {};
  Peer peer = {};
};

// Whether peers can make as many of such events as they like. Each of the others comes a few times a rank at
// most.
bool is_repeatable(const Event& event);

// What only the host can do. It is asked once, and goes on when the host answers: ProcessGroup::answer_spawn.
using QueryId = std::uint64_t;

struct SpawnQuery {
  QueryId id;
  std::uint32_t rank;
  SpawnRequest spawn;
};

// The same, where the names are kept elsewhere (ProcessGroupOptions::names_elsewhere):
// ProcessGroup::answer_name.
struct NameQuery {
  QueryId id;
  std::uint32_t rank;
  NameRequest request;
};

// The large ones are rare, and stand elsewhere: a barrier's list has a Send for each rank, and is as long as
// they are small.
using Effect = std::variant<Send, Close, std::unique_ptr<Event>, std::unique_ptr<SpawnQuery>,
                            std::unique_ptr<NameQuery>>;

// The effect when it is a T, else null.
template <typename T>
const T* as(const Effect& effect) {
  if constexpr (std::is_same_v<T, Send> || std::is_same_v<T, Close>) {
    return std::get_if<T>(&effect);
  } else {
    const auto* box = std::get_if<std::unique_ptr<T>>(&effect);
    return box == nullptr ? nullptr : box->get();
  }
}

class Effects {
 public:
  std::span<const Effect> list() const { return list_; }
  std::string_view bytes(const Send& send) const {
    return std::string_view(buffer_).substr(send.offset, send.size);
  }
  bool empty() const { return list_.empty(); }
  // Keeps the memory for the next turn.
  void clear() {
    list_.clear();
    buffer_.clear();
  }

  // Engine side. Consecutive sends to one connection become one.
  void send(ConnectionId connection, std::string_view bytes);
  // The same bytes to many connections, stored once: mark(), append to buffer(), then share() for each.
  std::size_t mark() const { return buffer_.size(); }
  std::string& buffer() { return buffer_; }
  // Everything appended to buffer() since `offset` goes to `connection`.
  void share(ConnectionId connection, std::size_t offset);
  void close(ConnectionId connection) { list_.emplace_back(Close{connection}); }
  void ask(SpawnQuery query) { list_.emplace_back(std::make_unique<SpawnQuery>(std::move(query))); }
  void ask(NameQuery query) { list_.emplace_back(std::make_unique<NameQuery>(std::move(query))); }
  void event(Event event) { list_.emplace_back(std::make_unique<Event>(std::move(event))); }

 private:
  std::vector<Effect> list_;
  std::string buffer_;
};

}  // namespace wireup::engine
