// The server's half of PMI-1 on one connection: bytes to lines, lines to messages, messages to what the job
// does.
//
// By the job only. A connection of a listener is a stranger until its initack proves a rank; nothing it says
// before is answered. What a known rank says wrong is told as an event and answered with rc != 0, and its
// connection lives: only a line without end, or an mcmd block without end, closes it.
//
// A rank inside a barrier may go on asking; a second barrier_in is answered at once with rc=-1 and counts for
// nothing. abort is obeyed before init too: a rank that fails to start wants its job ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "job/effects.h"
#include "job/limits.h"
#include "job/peer.h"
#include "wire/codec.h"
#include "wire/framer.h"

namespace wireup::job {

class Job;

class ServerSession {
 public:
  // Of a listener.
  ServerSession(Job& job, ConnectionId connection, Peer peer);
  // A channel that proves its rank.
  ServerSession(Job& job, ConnectionId connection, std::uint32_t rank);

  // False: the session has closed its connection and is to be forgotten.
  bool receive(std::string_view bytes, Effects& effects);
  void eof(Effects& effects);

  const Peer& peer() const { return peer_; }

 private:
  // refused: a stranger that is heard no more and is closed when its time is over.
  enum class State : std::uint8_t { stranger, refused, identified, initialized, finalized, closed };

  // A command over several lines, up to endcmd. Its lines are counted, not kept.
  struct Block {
    const wire::MessageSpec* spec;  // null: unknown
    std::string reply;              // what its reply is called
    std::size_t bytes = 0;
    std::int32_t total = 1;  // blocks until a reply is due
  };

  void on_line(std::string_view line, Effects& effects);
  void on_stranger(const wire::Parsed& parsed, Effects& effects);
  void on_block_line(std::string_view line, Effects& effects);
  void on_malformed(const wire::Parsed& parsed, Effects& effects);
  void on_command(const wire::Parsed& parsed, Effects& effects);
  void on_init(const wire::Parsed& parsed, Effects& effects);
  void on_put(const wire::Parsed& parsed, Effects& effects);
  void on_get(const wire::Parsed& parsed, Effects& effects);
  void on_finalize(Effects& effects);
  void on_abort(const wire::Parsed& parsed, Effects& effects);
  void end_block(Effects& effects);

  bool own_kvs(const wire::Parsed& parsed) const;
  void refuse(const wire::MessageSpec& request, int rc, std::string_view message, Effects& effects);
  void reply_error(std::string_view reply, int rc, std::string_view message, Effects& effects);
  void protocol_error(std::string message, Effects& effects);
  void reject(std::string reason, Effects& effects);
  void close(Effects& effects);

  Job& job_;
  ConnectionId connection_;
  Peer peer_;
  State state_;
  std::uint32_t rank_ = 0;  // from identified on
  bool told_after_finalize_ = false;
  bool goes_on_ = false;  // came back, under AuthPolicy::reconnect, after a barrier
  wire::LineFramer framer_{kMaxLine};
  std::optional<Block> block_;
  std::int32_t blocks_seen_ = 0;
};

}  // namespace wireup::job
