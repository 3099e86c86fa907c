// The server's half of PMI on one connection: bytes to lines or frames, these to messages, messages to what
// the job does.
//
// Used by ProcessGroup alone. A connection speaks PMI-1 until an init that asks for version 2, and PMI-2 from
// then on. One of a listener is a stranger until it proves a rank, by initack or, in PMI-2, by fullinit;
// nothing it says before is answered, but for the init of PMI-2. What a known rank says wrong is told as an
// event and answered with rc != 0, and its connection lives, up to kMaxWrongs; a line, a frame or an mcmd
// block without end, or what is no frame, cuts it off at once. What comes after finalize is wrong too.
//
// Some answers come later than those of what is asked next: a barrier's, an attribute's that nobody has put
// yet, a spawn's, a name's that is kept elsewhere. A rank inside a barrier may go on asking; a second
// barrier_in of the same group is answered at once with rc=-1 and counts for nothing. abort is obeyed before
// init too: a rank that fails to start wants its job ended.
//
// server_commands.cpp has what an initialized rank may say, server_session.cpp the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
  // Of a listener.
  ServerSession(ProcessGroup& group, ConnectionId connection, Peer peer);
  // A channel that proves its rank.
  ServerSession(ProcessGroup& group, ConnectionId connection, std::uint32_t rank);

  // False: the session has closed its connection and is to be forgotten.
  bool receive(std::string_view bytes, Effects& effects);
  void eof(std::string cut_off, Effects& effects);

  const Peer& peer() const { return peer_; }

  // How the end of the job's barrier is said to this rank. own: with a thrid, so to nobody else.
  enum class BarrierForm : std::uint8_t { plain, tagged, frame, own };
  BarrierForm barrier_form() const;
  void append_barrier_out(Effects& effects) const;
  void write_barrier_out(Effects& effects) const;

  // Answers that were deferred. Who writes one says answered().
  bool has_deferred() const { return deferred_ != 0; }
  void answered() { --deferred_; }
  void write_group_failure(std::uint32_t gone, std::int32_t tag, Effects& effects) const;
  void write_attribute(wire::MessageId reply, std::string_view thrid, std::string_view value,
                       Effects& effects) const;
  void write_spawn_result(std::string_view thrid, const SpawnAnswer& answer, Effects& effects) const;
  void write_name_result(wire::MessageId reply, std::string_view thrid, const NameAnswer& answer,
                         Effects& effects) const;

 private:
  // refused: a stranger that is heard no more and is closed when its time is over.
  enum class State : std::uint8_t { stranger, refused, identified, initialized, finalized, closed };

  // A command over several lines, up to endcmd. A spawn has as many as it starts programs.
  struct Block {
    const wire::MessageSpec* spec;  // null: unknown, its lines are counted, not kept
    std::string reply;              // what its reply is called
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
  void on_stranger(const wire::Parsed& parsed, Effects& effects);
  bool identify(const wire::Parsed& parsed, Effects& effects);
  void tell_connected(Effects& effects);
  void on_block_line(std::string_view line, Effects& effects);
  void on_malformed(const wire::Parsed& parsed, Effects& effects);
  void on_command(const wire::Parsed& parsed, Effects& effects);
  void out_of_turn(const wire::MessageSpec& request, Effects& effects);
  void on_init(const wire::Parsed& parsed, Effects& effects);
  void on_initack(const wire::Parsed& parsed, Effects& effects);
  void begin_v2(Effects& effects);
  void write_fullinit(Effects& effects);
  void initialized(std::uint32_t version, std::uint32_t subversion, Effects& effects);
  void on_abort(const wire::Parsed& parsed, Effects& effects);
  void end_block(Effects& effects);
  void leave_spawn(Effects& effects);

  void on_request(const wire::Parsed& parsed, Effects& effects);
  void on_put(const wire::Parsed& parsed, Effects& effects);
  void on_get(const wire::Parsed& parsed, Effects& effects);
  void on_barrier(const wire::Parsed& parsed, Effects& effects);
  void on_group_barrier(const wire::MessageSpec& request, std::string_view group, Effects& effects);
  void on_put_attribute(const wire::Parsed& parsed, Effects& effects);
  void on_get_attribute(const wire::Parsed& parsed, Effects& effects);
  void on_name(const wire::Parsed& parsed, Effects& effects);
  void on_finalize(Effects& effects);
  void on_spawn(SpawnReader& reader, Effects& effects);
  std::optional<std::string> job_attribute(std::string_view key) const;
  void no_room(const wire::MessageSpec& request, Effects& effects);
  bool defer(const wire::MessageSpec& request, Effects& effects);

  bool own_kvs(const wire::Parsed& parsed) const;
  bool is_v2() const { return version_ == wire::Version::v2; }
  // `fill` adds the attributes of the message that answers what is being read.
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
  // The same, for what is the client's own fault: told as an event too.
  void refuse_as_wrong(const wire::MessageSpec& request, int rc, std::string_view message, Effects& effects);
  void reply_error(std::string_view reply, int rc, std::string_view message, Effects& effects);
  // An event; protocol_error() counts it too.
  void tell_wrong(std::string message, Effects& effects);
  void protocol_error(std::string message, Effects& effects);
  void reject(std::string reason, Effects& effects);
  // Of a known rank: it is cut off.
  void close(std::string why, Effects& effects);

  // What every request looks at comes first: of thousands of sessions little else stays in a processor's
  // cache.
  ProcessGroup& group_;
  ConnectionId connection_;
  std::uint32_t rank_ = 0;  // from identified on
  State state_;
  bool goes_on_ = false;  // came back, under AuthPolicy::reconnect, after a barrier
  wire::Version version_ = wire::Version::v1;
  std::uint32_t subversion_ = 0;  // agreed on
  std::uint32_t wrongs_ = 0;
  std::unique_ptr<Block> block_;
  std::unique_ptr<Spawn> spawn_;
  std::string_view thrid_;  // of the frame that is being read; empty outside
  wire::LineFramer framer_{kMaxLine};

  wire::FrameFramer frames_{kMaxLine};  // of a stranger; more later
  std::string scratch_;                 // of the frame that is being read
  std::string fence_thrid_;             // of the barrier that it waits in
  std::size_t deferred_ = 0;
  Peer peer_;
};

}  // namespace wireup::engine
