// The part of a Trace that records one process group: what its ServerDriver receives and sends on each
// connection, as messages.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/process_group.h"
#include "runtime/trace.h"
#include "wire/message_splitter.h"

namespace wireup::runtime {

class GroupTrace {
 public:
  GroupTrace(std::shared_ptr<Trace> trace, std::uint32_t number, const engine::ProcessGroup& group);

  std::uint64_t now() const { return trace_->now(); }

  // A new connection. `rank`: of a channel; empty: the connection was accepted.
  void opened(engine::ConnectionId id, std::optional<std::uint32_t> rank);
  // The engine has received these bytes, which came at `time`, and wants these effects.
  void received(engine::ConnectionId id, std::string_view bytes, std::uint64_t time,
                const engine::Effects& effects);
  // What the engine wants done.
  void apply(const engine::Effects& effects);
  // The connection is gone.
  void ended(engine::ConnectionId id);
  // The server will be destroyed.
  void finish();

 private:
  struct Connection {
    wire::MessageSplitter messages;
    std::optional<std::uint32_t> rank;
    bool accepted = false;  // it has to identify itself
    bool refused = false;
  };

  Connection* find(engine::ConnectionId id) const;
  wire::RecordHead head(engine::ConnectionId id, const Connection& connection, std::uint64_t time) const;
  void record(engine::ConnectionId id, Connection& connection, wire::Side side,
              const wire::CutMessage& message, bool secret, std::uint64_t time);
  void record(const engine::Event& event);
  void record_connected(engine::ConnectionId id, std::uint32_t rank, std::uint64_t time,
                        const engine::Effects& effects);
  void flush(engine::ConnectionId id, Connection& connection);

  std::shared_ptr<Trace> trace_;
  std::uint32_t number_;
  const engine::ProcessGroup& group_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by ConnectionId
};

}  // namespace wireup::runtime
