#include "engine/server_session.h"

#include <algorithm>
#include <utility>

#include "engine/process_group.h"
#include "engine/result_codes.h"

namespace wireup::engine {
namespace {

using wire::AttributeId;
using wire::Direction;
using wire::MessageId;
using wire::MessageWriter;
using wire::Parsed;
using wire::ParseStatus;

using wire::Version;

// The newest subversion of PMI-1.
constexpr std::int32_t kNewestSubversion = 2;

// A client's name is only repeated in a reply if it is one short word.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxKey && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string reply_name(const Parsed& parsed, Version version) {
  if (parsed.spec != nullptr) return std::string(wire::spec_of(parsed.spec->reply).wire_name(version));
  const std::string_view ending = version == Version::v2 ? "-response" : "_result";
  if (is_plain_name(parsed.command)) return std::string(parsed.command).append(ending);
  return std::string(wire::spec_of(MessageId::unknown_result).wire_name(version));
}

// RFC 13 has codes for keys and values that are too long.
int code_of(const Parsed& parsed) {
  if (parsed.status != ParseStatus::too_long) return kFail;
  if (parsed.attribute == AttributeId::key) return kInvalidKeyLength;
  if (parsed.attribute == AttributeId::value) return kInvalidValueLength;
  return kInvalidArgument;
}

}  // namespace

ServerSession::ServerSession(ProcessGroup& group, ConnectionId connection, Peer peer)
    : group_(group), connection_(connection), state_(State::unidentified), peer_(std::move(peer)) {}

ServerSession::ServerSession(ProcessGroup& group, ConnectionId connection, std::uint32_t rank)
    : group_(group), connection_(connection), rank_(rank), state_(State::identified) {}

bool ServerSession::receive(std::string_view bytes, Effects& effects) {
  while (!bytes.empty() && state_ != State::closed && state_ != State::refused) {
    if (!(is_v2() ? on_frame_bytes(bytes, effects) : on_bytes(bytes, effects))) break;
    if (violated_ && state_ != State::closed) close("it sent an invalid message", effects);
    if (bad_requests_ >= kMaxBadRequests && state_ != State::closed) {
      close("it sent " + std::to_string(kMaxBadRequests) + " invalid requests", effects);
    }
  }
  return state_ != State::closed;
}

bool ServerSession::on_bytes(std::string_view& bytes, Effects& effects) {
  std::string_view line;
  switch (framer_.next(bytes, line)) {
    case wire::LineFramer::Result::more:
      return false;
    case wire::LineFramer::Result::too_long:
      unreadable("a line of more than " + std::to_string(kMaxLine) + " bytes", effects);
      return false;
    case wire::LineFramer::Result::line:
      break;
  }
  on_line(line, effects);
  return true;
}

bool ServerSession::on_frame_bytes(std::string_view& bytes, Effects& effects) {
  std::string_view frame;
  switch (frames_.next(bytes, frame)) {
    case wire::FrameFramer::Result::more:
      return false;
    case wire::FrameFramer::Result::too_long:
      unreadable("a frame that is too long", effects);
      return false;
    case wire::FrameFramer::Result::bad_length:
      unreadable("a frame without a valid length", effects);
      return false;
    case wire::FrameFramer::Result::frame:
      break;
  }
  on_frame(frame, effects);
  thrid_ = {};
  return true;
}

// The rest of the stream cannot be parsed.
void ServerSession::unreadable(const std::string& what, Effects& effects) {
  if (state_ == State::unidentified)
    return reject(Refusal::protocol, what + " before " + (is_v2() ? "fullinit" : "initack"), effects);
  protocol_error(what, effects);
  close("it sent " + what, effects);
}

void ServerSession::eof(std::string cut_off, Effects& effects) {
  const bool pending = (is_v2() ? frames_.pending() : framer_.pending()) > 0;
  if (state_ == State::unidentified || state_ == State::refused) {
    if (state_ == State::unidentified && pending) {
      group_.reject(peer_, Refusal::protocol, "closed the connection in the middle of its first line",
                    effects);
    }
    group_.auth_.forget(connection_);
    return;
  }
  if (state_ != State::finalized && cut_off.empty() && (pending || block_)) {
    protocol_error(block_
                       ? "the connection ended inside an mcmd block"
                       : "the connection ended in the middle of a " + std::string(is_v2() ? "frame" : "line"),
                   effects);
  }
  group_.rank_disconnected(rank_, std::move(cut_off), effects);
}

void ServerSession::on_line(std::string_view line, Effects& effects) {
  if (block_) return on_block_line(line, effects);
  const Parsed parsed = wire::parse_v1(line, Direction::to_server);
  group_.counters_.count(parsed.spec);
  if (state_ == State::unidentified) return on_unidentified(parsed, effects);

  const bool is_spawn = parsed.form == wire::Form::block && parsed.spec != nullptr;
  if (spawn_ && !is_spawn) abandon_spawn(effects);
  if (parsed.form == wire::Form::block) {
    block_ = std::make_unique<Block>(Block{parsed.spec, reply_name(parsed, version_)});
    if (!spawn_) spawn_ = std::make_unique<Spawn>();
    spawn_->bytes += line.size() + 1;
    spawn_->reader.begin_command();
    return;
  }
  if (parsed.status != ParseStatus::ok) return on_malformed(parsed, effects);
  on_command(parsed, effects);
}

void ServerSession::on_frame(std::string_view frame, Effects& effects) {
  const Parsed parsed = wire::parse_v2(frame, Direction::to_server, scratch_);
  group_.counters_.count(parsed.spec);
  thrid_ = parsed.thrid;
  if (state_ == State::unidentified) return on_unidentified(parsed, effects);
  if (parsed.status != ParseStatus::ok) return on_malformed(parsed, effects);
  if (parsed.form != wire::Form::block) return on_command(parsed, effects);
  SpawnReader reader(Version::v2);
  wire::FieldReader fields(frame, scratch_);
  for (wire::FieldReader::Field field; fields.next(field);) reader.field(field.name, field.value);
  on_spawn(reader, effects);
}

// Handles a message of an unidentified connection. In PMI-2 an init precedes the fullinit; the reply to it
// reveals nothing.
void ServerSession::on_unidentified(const Parsed& parsed, Effects& effects) {
  const MessageId id = parsed.spec == nullptr ? MessageId::unknown_result : parsed.spec->id;
  if (id == MessageId::init && !is_v2() && parsed.status == ParseStatus::ok &&
      parsed.integer(AttributeId::pmi_version) == 2) {
    return begin_v2(effects);
  }
  const std::string_view wanted = wire::spec_of(MessageId::initack).wire_name(version_);
  if (id != MessageId::initack)
    return reject(Refusal::protocol, "sent another message before " + std::string(wanted), effects);
  if (parsed.status != ParseStatus::ok) {
    return reject(Refusal::protocol, std::string(wanted) + ": " + wire::describe(parsed), effects);
  }
  if (!identify(parsed, effects)) return;
  if (is_v2()) {
    frames_.set_limit(kMaxFrame);
    write_fullinit(effects);
    report_connected(effects);
    return initialized(2, 0, effects);
  }
  const std::size_t offset = effects.mark();
  std::string& out = effects.buffer();
  MessageWriter initack(out, MessageId::initack_reply);
  if (!group_.options().spawner.empty()) initack.add(AttributeId::spawner_jobid, group_.options().spawner);
  initack.end();
  MessageWriter(out, MessageId::set).add(AttributeId::size, group_.size()).end();
  MessageWriter(out, MessageId::set).add(AttributeId::rank, rank_).end();
  MessageWriter(out, MessageId::set).add(AttributeId::debug, 0).end();
  effects.share(connection_, offset);
  report_connected(effects);
}

bool ServerSession::identify(const Parsed& parsed, Effects& effects) {
  const Authenticator::Identity identity =
      group_.auth_.identify(connection_, parsed.text(AttributeId::pmiid), peer_);
  if (identity.hold) {
    state_ = State::refused;
    group_.reject(peer_, identity.kind, identity.refusal, effects);
    return false;
  }
  if (!identity.rank) {
    reject(identity.kind, identity.refusal, effects);
    return false;
  }
  rank_ = *identity.rank;
  resumed_ = group_.resumes(rank_);
  if (resumed_ && is_v2()) {
    // fullinit cannot express that the rank resumes where it was.
    group_.auth_.leave(rank_);
    reject(Refusal::pmi_id, "rank " + std::to_string(rank_) + " cannot start again after a completed barrier",
           effects);
    return false;
  }
  state_ = resumed_ ? State::initialized : State::identified;
  group_.connected(rank_, connection_);
  return true;
}

void ServerSession::report_connected(Effects& effects) {
  Event event{.type = EventType::connected,
              .rank = static_cast<std::int32_t>(rank_),
              .again = group_.ranks_[rank_].again};
  event.peer = peer_;
  effects.event(std::move(event));
}

void ServerSession::on_block_line(std::string_view line, Effects& effects) {
  spawn_->bytes += line.size() + 1;
  if (spawn_->bytes > kMaxBlock) {
    return unreadable("an mcmd command of more than " + std::to_string(kMaxBlock) + " bytes", effects);
  }
  if (line == "endcmd") return end_block(effects);
  const std::size_t equals = line.find('=');
  if (block_->spec == nullptr || equals == std::string_view::npos) return;
  spawn_->reader.field(line.substr(0, equals), line.substr(equals + 1));
}

void ServerSession::end_block(Effects& effects) {
  const Block block = std::move(*std::exchange(block_, nullptr));
  if (block.spec == nullptr) {
    spawn_.reset();
    violation("unknown_command in an mcmd block", effects);
    return reply_error(block.reply, kFail, "unknown_command", effects);
  }
  spawn_->reader.end_command();
  // A client sends one block for each program of a spawn and then waits for a single reply. The blocks are
  // counted here. spawnssofar is not used, because MPICH counts it from 1 and others from 0.
  if (++spawn_->blocks < spawn_->reader.total()) return;
  SpawnReader reader = std::move(spawn_->reader);
  spawn_.reset();
  on_spawn(reader, effects);
}

// The client has sent something other than the next block, so the spawn cannot become complete.
void ServerSession::abandon_spawn(Effects& effects) {
  spawn_.reset();
  refuse_bad_request(wire::spec_of(MessageId::spawn), kFail, "unfinished_spawn", effects);
}

void ServerSession::on_malformed(const Parsed& parsed, Effects& effects) {
  const std::string error = wire::describe(parsed);
  const std::string command =
      is_plain_name(parsed.command) ? std::string(parsed.command) + ": " : std::string();
  // Keys and values that are too long have error codes in RFC 13.
  if (parsed.status == ParseStatus::too_long)
    protocol_error(command + error, effects);
  else
    violation(command + error, effects);
  if (parsed.spec != nullptr && parsed.spec->id == MessageId::abort) return on_abort(parsed, effects);
  reply_error(reply_name(parsed, version_), code_of(parsed), error, effects);
}

void ServerSession::on_command(const Parsed& parsed, Effects& effects) {
  const wire::MessageSpec& spec = *parsed.spec;
  if (spec.id == MessageId::abort) return on_abort(parsed, effects);
  if (spec.id == MessageId::init) return on_init(parsed, effects);
  if (spec.id == MessageId::initack) return on_initack(parsed, effects);
  if (state_ != State::initialized) return refuse_out_of_turn(spec, effects);
  if (spec.support == wire::Support::refused) return refuse(spec, kFail, "not_supported", effects);
  on_request(parsed, effects);
}

void ServerSession::refuse_out_of_turn(const wire::MessageSpec& request, Effects& effects) {
  const bool late = state_ == State::finalized;
  const std::string name(request.wire_name(version_));
  violation(name + (late ? " after finalize" : " before init"), effects);
  // A client of PMI 1.1 ignores the rc of barrier_out (MPICH 4.0) and would take this refusal for the end of
  // the barrier.
  if (late && request.id == MessageId::barrier_in && !is_v2() && subversion_ < 2) {
    return close("it sent " + name + " after finalize", effects);
  }
  refuse(request, late ? kErrInit : kFail, late ? "already_finalized" : "not_initialized", effects);
}

void ServerSession::on_init(const Parsed& parsed, Effects& effects) {
  const std::int32_t version = parsed.integer(AttributeId::pmi_version).value_or(0);
  const std::int32_t subversion = parsed.integer(AttributeId::pmi_subversion).value_or(0);
  std::string_view refusal;
  if ((version != 1 && version != 2) || subversion < 0) {
    refusal = "pmi_version_not_supported";
  } else if (state_ == State::finalized) {
    refusal = "already_finalized";
  } else if (state_ == State::initialized || is_v2()) {
    // Other ranks rely on what the rank has published before the barrier, so it must not start anew.
    refusal = resumed_ ? "a_rank_cannot_start_again_after_a_barrier" : "already_initialized";
  } else if (version == 2) {
    frames_.set_limit(kMaxFrame);
    return begin_v2(effects);
  }
  // The smaller of the two versions, because a client may accept only its own (Flux: 1.1).
  const bool newest = !refusal.empty() || group_.options().offer_1_2;
  const std::int32_t agreed = newest ? kNewestSubversion : std::min(subversion, kNewestSubversion);
  reply(MessageId::init_reply, effects, [&](MessageWriter& message) {
    if (!is_v2()) message.add(AttributeId::pmi_version, 1).add(AttributeId::pmi_subversion, agreed);
    message.add(AttributeId::rc, refusal.empty() ? kSuccess : kFail);
    if (!refusal.empty()) message.add(AttributeId::msg, refusal);
  });
  if (!refusal.empty()) return protocol_error("init: " + std::string(refusal), effects);
  initialized(1, static_cast<std::uint32_t>(agreed), effects);
}

// The reply is the last line. Frames follow.
void ServerSession::begin_v2(Effects& effects) {
  reply(MessageId::init_reply, effects, [](MessageWriter& message) {
    message.add(AttributeId::pmi_version, 2)
        .add(AttributeId::pmi_subversion, 0)
        .add(AttributeId::rc, kSuccess);
  });
  version_ = Version::v2;
}

void ServerSession::initialized(std::uint32_t version, std::uint32_t subversion, Effects& effects) {
  state_ = State::initialized;
  subversion_ = subversion;
  group_.auth_.spend(rank_);
  group_.ranks_[rank_].state = RankState::initialized;
  effects.event({.type = EventType::initialized,
                 .rank = static_cast<std::int32_t>(rank_),
                 .again = group_.ranks_[rank_].again,
                 .version = version,
                 .subversion = subversion});
}

// Handles an initack after the rank is known. On a channel PMI-2 requires a fullinit with the rank.
void ServerSession::on_initack(const Parsed& parsed, Effects& effects) {
  std::string_view why = "already_identified";
  if (is_v2() && state_ == State::identified) {
    if (parsed.text(AttributeId::pmiid) == std::to_string(rank_)) {
      write_fullinit(effects);
      return initialized(2, 0, effects);
    }
    why = "pmirank_is_not_the_rank_of_this_channel";
  } else if (!is_v2() && peer_.transport == Transport::inherited_fd) {
    why = "initack_is_not_allowed_on_an_inherited_channel";
  }
  refuse_bad_request(*parsed.spec, kFail, why, effects);
}

void ServerSession::write_fullinit(Effects& effects) {
  reply(MessageId::initack_reply, effects, [this](MessageWriter& message) {
    message.add(AttributeId::rc, kSuccess)
        .add(AttributeId::server_version, 2)
        .add(AttributeId::server_subversion, 0)
        .add(AttributeId::rank, rank_)
        .add(AttributeId::size, group_.size())
        .add(AttributeId::appnum, group_.options().layout.place(rank_).appnum)
        .add(AttributeId::debugged, "FALSE")
        .add(AttributeId::pmiverbose, "FALSE");
    // A client takes the presence of this attribute as the sign that it was spawned.
    if (!group_.options().spawner.empty()) message.add(AttributeId::spawner_jobid, group_.options().spawner);
  });
}

void ServerSession::on_abort(const Parsed& parsed, Effects& effects) {
  // The default of pmi-1.1 if abort has no code.
  constexpr std::int32_t kDefaultExitCode = 1;
  if (std::exchange(group_.ranks_[rank_].aborted, true)) return;
  effects.event({.type = EventType::aborted,
                 .rank = static_cast<std::int32_t>(rank_),
                 .exit_code = parsed.integer(AttributeId::exitcode).value_or(kDefaultExitCode),
                 .in_barrier = group_.barrier_.inside(rank_),
                 .barrier = group_.barrier_.number(),
                 .message = std::string(parsed.text(AttributeId::message))});
}

void ServerSession::reply_success(const wire::MessageSpec& request, Effects& effects) {
  reply(request.reply, effects, [](MessageWriter& message) { message.add(AttributeId::rc, kSuccess); });
}

void ServerSession::refuse(const wire::MessageSpec& request, int rc, std::string_view message,
                           Effects& effects) {
  reply_error(wire::spec_of(request.reply).wire_name(version_), rc, message, effects);
}

void ServerSession::refuse_bad_request(const wire::MessageSpec& request, int rc, std::string_view message,
                                       Effects& effects) {
  protocol_error(std::string(request.wire_name(version_)) + ": " + std::string(message), effects);
  refuse(request, rc, message, effects);
}

void ServerSession::reply_error(std::string_view reply, int rc, std::string_view message, Effects& effects) {
  const std::size_t offset = effects.mark();
  MessageWriter(effects.buffer(), reply, version_, thrid_)
      .add(AttributeId::rc, rc)
      .add(AttributeId::msg, message)
      .end();
  effects.share(connection_, offset);
}

void ServerSession::protocol_error(std::string message, Effects& effects) {
  ++bad_requests_;
  report_error(std::move(message), effects);
}

void ServerSession::violation(std::string message, Effects& effects) {
  violated_ = group_.options().strict;
  protocol_error(std::move(message), effects);
}

void ServerSession::report_error(std::string message, Effects& effects) {
  ++group_.counters_.invalid;
  effects.event({.type = EventType::protocol_error,
                 .rank = static_cast<std::int32_t>(rank_),
                 .message = std::move(message)});
}

void ServerSession::reject(Refusal kind, std::string reason, Effects& effects) {
  group_.auth_.forget(connection_);
  group_.reject(peer_, kind, std::move(reason), effects);
  effects.close(connection_);
  state_ = State::closed;
}

void ServerSession::close(std::string why, Effects& effects) {
  group_.rank_disconnected(rank_, std::move(why), effects);
  effects.close(connection_);
  state_ = State::closed;
}

}  // namespace wireup::engine
