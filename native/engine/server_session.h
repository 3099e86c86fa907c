// The server's side of PMI on one connection: splits bytes into lines or frames, parses these into messages,
// and executes the messages on the process group.
//
// Only ProcessGroup uses it. Rules:
// - A connection uses PMI-1 until an init that requests version 2, and PMI-2 from then on.
// - A connection of a listener is unidentified until its initack (in PMI-2 its fullinit) proves a rank. Until
// then the session replies to nothing except the init of PMI-2.
// - If an identified rank sends an invalid request, the session reports an event and replies with rc != 0,
// and the connection continues, up to kMaxBadRequests. A line, frame or mcmd block over its limit, and a
// malformed frame, end the connection at once. Requests after finalize are invalid.
// - Some replies are deferred and may follow those to later requests: a barrier's, a waiting attribute's, a
// spawn's, a name's if the names are kept elsewhere. A rank in a barrier may send other requests. If it
// enters the same barrier again, the reply is rc=-1, and the barrier is unaffected.
// - abort is executed before init too, because a rank that fails to start wants its job to end.
//
// server_commands.cpp has the commands of an initialized rank, server_session.cpp everything else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/counters.h"
#include "engine/effects.h"
#include "engine/limits.h"
#include "engine/names.h"
#include "engine/peer.h"
#include "engine/spawn.h"
#include "wire/codec.h"
#include "wire/framer.h"

namespace wireup::engine {

class ProcessGroup;

class ServerSession {
 public:
  // A connection of a listener.
  ServerSession(ProcessGroup& group, ConnectionId connection, Peer peer);
  // A channel, whose rank is known.
  ServerSession(ProcessGroup& group, ConnectionId connection, std::uint32_t rank);

  // Returns false if the session has closed its connection and must be deleted.
  bool receive(std::string_view bytes, Effects& effects);
  // The connection has ended, see ProcessGroup::eof().
  void eof(std::string cut_off, Effects& effects);

  const Peer& peer() const { return peer_; }
  // Empty: the connection has not identified itself.
  std::optional<std::uint32_t> rank() const {
    if (state_ == State::unidentified || state_ == State::refused) return std::nullopt;
    return rank_;
  }

  // The form of the reply to the barrier of all ranks. Connections with the same form get the same bytes,
  // except `own`, whose reply repeats a thrid.
  enum class BarrierForm : std::uint8_t { plain, tagged, frame, own };
  BarrierForm barrier_form() const;
  void append_barrier_out(Effects& effects) const;
  void write_barrier_out(Effects& effects) const;

  // Deferred replies. The caller of one of the write functions must call end_deferred() if the reply was
  // deferred.
  bool has_deferred() const { return deferred_ != 0; }
  void end_deferred() { --deferred_; }
  void write_group_failure(std::uint32_t gone, std::int32_t tag, Effects& effects) const;
  void write_attribute(wire::MessageId reply, std::string_view thrid, std::string_view value,
                       Effects& effects) const;
  void write_spawn_result(std::string_view thrid, const SpawnAnswer& answer, Effects& effects) const;
  void write_name_result(wire::MessageId reply, std::string_view thrid, const NameAnswer& answer,
                         Effects& effects) const;

 private:
  // refused: an unidentified connection with a wrong PMI_ID, whose bytes are ignored until it expires.
  enum class State : std::uint8_t { unidentified, refused, identified, initialized, finalized, closed };

  // An mcmd block, up to endcmd. A spawn has one for each program.
  struct Block {
    const wire::MessageSpec* spec;  // null: an unknown command, whose lines are counted and skipped
    std::string reply;              // the name of its reply
  };
  struct Spawn {
    SpawnReader reader{wire::Version::v1};
    std::size_t bytes = 0;
    std::uint32_t blocks = 0;
  };

  bool on_bytes(std::string_view& bytes, Effects& effects);
  bool on_frame_bytes(std::string_view& bytes, Effects& effects);
  void unreadable(const std::string& what, Effects& effects);
  void on_line(std::string_view line, Effects& effects);
  void on_frame(std::string_view frame, Effects& effects);
  void on_unidentified(const wire::Parsed& parsed, Effects& effects);
  bool identify(const wire::Parsed& parsed, Effects& effects);
  void report_connected(Effects& effects);
  void on_block_line(std::string_view line, Effects& effects);
  void on_malformed(const wire::Parsed& parsed, Effects& effects);
  void on_command(const wire::Parsed& parsed, Effects& effects);
  void refuse_out_of_turn(const wire::MessageSpec& request, Effects& effects);
  void on_init(const wire::Parsed& parsed, Effects& effects);
  void on_initack(const wire::Parsed& parsed, Effects& effects);
  void begin_v2(Effects& effects);
  void write_fullinit(Effects& effects);
  void initialized(std::uint32_t version, std::uint32_t subversion, Effects& effects);
  void on_abort(const wire::Parsed& parsed, Effects& effects);
  void end_block(Effects& effects);
  void abandon_spawn(Effects& effects);

  void on_request(const wire::Parsed& parsed, Effects& effects);
  void on_put(const wire::Parsed& parsed, Effects& effects);
  void on_get(const wire::Parsed& parsed, Effects& effects);
  void on_barrier(const wire::Parsed& parsed, Effects& effects);
  void on_group_barrier(const wire::MessageSpec& request, std::string_view text, Effects& effects);
  void on_put_attribute(const wire::Parsed& parsed, Effects& effects);
  void on_get_attribute(const wire::Parsed& parsed, Effects& effects);
  void on_name(const wire::Parsed& parsed, Effects& effects);
  void on_finalize(Effects& effects);
  void on_spawn(SpawnReader& reader, Effects& effects);
  std::optional<std::string> job_attribute(std::string_view key) const;
  void refuse_full(const wire::MessageSpec& request, Effects& effects);
  bool defer(const wire::MessageSpec& request, Effects& effects);

  bool own_kvs(const wire::Parsed& parsed) const;
  bool is_v2() const { return version_ == wire::Version::v2; }
  // Replies to the current request. `fill` adds the attributes.
  template <typename Fill>
  void reply(wire::MessageId id, Effects& effects, Fill fill) {
    const std::size_t offset = effects.mark();
    wire::MessageWriter message(effects.buffer(), id, version_, thrid_);
    fill(message);
    message.end();
    effects.share(connection_, offset);
  }
  void reply_success(const wire::MessageSpec& request, Effects& effects);
  void refuse(const wire::MessageSpec& request, int rc, std::string_view message, Effects& effects);
  // Like refuse(), for an invalid request, which is also reported as an event.
  void refuse_bad_request(const wire::MessageSpec& request, int rc, std::string_view message,
                          Effects& effects);
  void reply_error(std::string_view reply, int rc, std::string_view message, Effects& effects);
  // Reports an event. protocol_error() also counts it as an invalid request.
  void report_error(std::string message, Effects& effects);
  void protocol_error(std::string message, Effects& effects);
  // The same, for a message that breaks the protocol. With ProcessGroupOptions::strict it is the last one.
  void violation(std::string message, Effects& effects);
  void reject(Refusal kind, std::string reason, Effects& effects);
  // Closes the connection of an identified rank.
  void close(std::string why, Effects& effects);

  // The members that every request uses come first and share cache lines: with thousands of sessions little
  // else stays in the processor's cache.
  ProcessGroup& group_;
  ConnectionId connection_;
  std::uint32_t rank_ = 0;  // valid from State::identified on
  State state_;
  bool resumed_ = false;  // it has connected again, under AuthPolicy::reconnect, after a completed barrier
  bool violated_ = false;
  wire::Version version_ = wire::Version::v1;
  std::uint32_t subversion_ = 0;  // the agreed one
  std::uint32_t bad_requests_ = 0;
  std::unique_ptr<Block> block_;
  std::unique_ptr<Spawn> spawn_;
  std::string_view thrid_;  // of the current frame; empty between frames
  wire::LineFramer framer_{kMaxLine};

  wire::FrameFramer frames_{kMaxLine};  // the limit of an unidentified connection; raised later
  std::string scratch_;                 // for the current frame
  std::string fence_thrid_;             // of the barrier in which it waits
  std::size_t deferred_ = 0;            // replies
  Peer peer_;
};

}  // namespace wireup::engine
