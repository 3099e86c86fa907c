#include "job/server_session.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "job/job.h"
#include "job/result_codes.h"

namespace wireup::job {
namespace {

using wire::AttributeId;
using wire::Direction;
using wire::LineWriter;
using wire::MessageId;
using wire::Parsed;
using wire::ParseStatus;

constexpr std::int32_t kVersion = 1;
constexpr std::int32_t kSubversion = 1;

// A name from outside goes back into a reply only when it is surely one word of sane length.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxKey && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string reply_name(const Parsed& parsed) {
  if (parsed.spec != nullptr) return std::string(wire::spec_of(parsed.spec->reply).v1);
  if (is_plain_name(parsed.command)) return std::string(parsed.command) + "_result";
  return std::string(wire::spec_of(MessageId::unknown_result).v1);
}

// PMI_KVS_Put's own codes for what is over its limit.
int code_of(const Parsed& parsed) {
  if (parsed.status != ParseStatus::too_long) return kFail;
  if (parsed.attribute == AttributeId::key) return kInvalidKeyLength;
  if (parsed.attribute == AttributeId::value) return kInvalidValueLength;
  return kInvalidArgument;
}

}  // namespace

ServerSession::ServerSession(Job& job, ConnectionId connection, Peer peer)
    : job_(job), connection_(connection), peer_(std::move(peer)), state_(State::stranger) {}

ServerSession::ServerSession(Job& job, ConnectionId connection, std::uint32_t rank)
    : job_(job), connection_(connection), state_(State::identified), rank_(rank) {}

bool ServerSession::receive(std::string_view bytes, Effects& effects) {
  while (!bytes.empty() && state_ != State::closed && state_ != State::finalized && state_ != State::refused) {
    std::string_view line;
    switch (framer_.next(bytes, line)) {
      case wire::LineFramer::Result::more:
        return true;
      case wire::LineFramer::Result::too_long:
        if (state_ == State::stranger) {
          reject("a line over " + std::to_string(kMaxLine) + " bytes before initack", effects);
        } else {
          protocol_error("a line is over " + std::to_string(kMaxLine) + " bytes", effects);
          close(effects);
        }
        return false;
      case wire::LineFramer::Result::line:
        on_line(line, effects);
        break;
    }
  }
  if (state_ == State::finalized && !bytes.empty() && !std::exchange(told_after_finalize_, true)) {
    protocol_error("bytes after finalize are ignored", effects);
  }
  return state_ != State::closed;
}

void ServerSession::eof(Effects& effects) {
  if (state_ == State::stranger || state_ == State::refused) {
    if (state_ == State::stranger && framer_.pending() > 0) {
      job_.reject(peer_, "hung up in the middle of its first line", effects);
    }
    job_.auth_.forget(connection_);
    return;
  }
  if (state_ != State::finalized && (framer_.pending() > 0 || block_)) {
    protocol_error(
        block_ ? "the connection ended inside an mcmd block" : "the connection ended in the middle of a line",
        effects);
  }
  job_.rank_ended(rank_, effects);
}

void ServerSession::on_line(std::string_view line, Effects& effects) {
  if (block_) return on_block_line(line, effects);
  const Parsed parsed = wire::parse_v1(line, Direction::to_server);
  if (state_ == State::stranger) return on_stranger(parsed, effects);

  if (parsed.form == wire::Form::block) {
    block_ = Block{parsed.spec, reply_name(parsed)};
    return;
  }
  if (blocks_seen_ > 0) {
    blocks_seen_ = 0;
    protocol_error("a spawn was left unfinished", effects);
  }
  if (parsed.status != ParseStatus::ok) return on_malformed(parsed, effects);
  on_command(parsed, effects);
}

void ServerSession::on_stranger(const Parsed& parsed, Effects& effects) {
  if (parsed.spec == nullptr || parsed.spec->id != MessageId::initack) {
    return reject("spoke before initack", effects);
  }
  if (parsed.status != ParseStatus::ok) return reject("initack: " + wire::describe(parsed), effects);
  const Authenticator::Identity identity =
      job_.auth_.identify(connection_, parsed.text(AttributeId::pmiid), peer_);
  if (identity.hold) {
    state_ = State::refused;
    return job_.reject(peer_, identity.refusal, effects);
  }
  if (!identity.rank) return reject(identity.refusal, effects);

  rank_ = *identity.rank;
  goes_on_ = job_.goes_on(rank_);
  state_ = goes_on_ ? State::initialized : State::identified;
  job_.connected(rank_, connection_);
  const std::size_t offset = effects.mark();
  std::string& out = effects.buffer();
  LineWriter(out, MessageId::initack_reply).end();
  LineWriter(out, MessageId::set).add(AttributeId::size, job_.size()).end();
  LineWriter(out, MessageId::set).add(AttributeId::rank, rank_).end();
  LineWriter(out, MessageId::set).add(AttributeId::debug, 0).end();
  effects.share(connection_, offset);
  Event event{.type = EventType::connected, .rank = static_cast<std::int32_t>(rank_)};
  event.peer = peer_;
  effects.event(std::move(event));
}

void ServerSession::on_block_line(std::string_view line, Effects& effects) {
  block_->bytes += line.size() + 1;
  if (block_->bytes > kMaxBlock) {
    protocol_error("an mcmd block is over " + std::to_string(kMaxBlock) + " bytes", effects);
    return close(effects);
  }
  if (line == "endcmd") return end_block(effects);
  constexpr std::string_view kTotal = "totspawns=";
  if (line.starts_with(kTotal)) {
    std::int32_t total = 0;
    const char* end = line.data() + line.size();
    const auto [stop, error] = std::from_chars(line.data() + kTotal.size(), end, total);
    if (error == std::errc() && stop == end) block_->total = total;
  }
}

void ServerSession::end_block(Effects& effects) {
  const Block block = *std::exchange(block_, std::nullopt);
  if (block.spec == nullptr) {
    protocol_error("unknown_command in an mcmd block", effects);
    return reply_error(block.reply, kFail, "unknown_command", effects);
  }
  // A client writes one block for each command of a spawn and then waits for a single reply. Counted here,
  // not by spawnssofar: MPICH counts that from 1, others from 0.
  if (++blocks_seen_ < block.total) return;
  blocks_seen_ = 0;
  if (state_ == State::identified) {
    protocol_error("spawn before init", effects);
    return reply_error(block.reply, kFail, "not_initialized", effects);
  }
  reply_error(block.reply, kFail, "not_supported", effects);
}

void ServerSession::on_malformed(const Parsed& parsed, Effects& effects) {
  const std::string fault = wire::describe(parsed);
  const std::string said = is_plain_name(parsed.command) ? std::string(parsed.command) + ": " : std::string();
  protocol_error(said + fault, effects);
  if (parsed.spec != nullptr && parsed.spec->id == MessageId::abort) return on_abort(parsed, effects);
  reply_error(reply_name(parsed), code_of(parsed), fault, effects);
}

void ServerSession::on_command(const Parsed& parsed, Effects& effects) {
  const wire::MessageSpec& spec = *parsed.spec;
  if (spec.id == MessageId::abort) return on_abort(parsed, effects);
  if (spec.id == MessageId::init) return on_init(parsed, effects);
  if (spec.id == MessageId::initack) {
    const std::string_view why = peer_.transport == Transport::inherited_fd
                                     ? "initack_is_not_for_an_inherited_channel"
                                     : "already_identified";
    protocol_error("initack: " + std::string(why), effects);
    return refuse(spec, kFail, why, effects);
  }
  if (state_ != State::initialized) {
    protocol_error(std::string(spec.v1) + " before init", effects);
    return refuse(spec, kFail, "not_initialized", effects);
  }
  if (spec.support == wire::Support::refused) return refuse(spec, kFail, "not_supported", effects);

  const std::size_t offset = effects.mark();
  std::string& out = effects.buffer();
  switch (spec.id) {
    case MessageId::put:
      return on_put(parsed, effects);
    case MessageId::get:
      return on_get(parsed, effects);
    case MessageId::barrier_in:
      return job_.enter_barrier(rank_, connection_, effects);
    case MessageId::finalize:
      return on_finalize(effects);
    case MessageId::get_maxes:
      LineWriter(out, MessageId::maxes)
          .add(AttributeId::kvsname_max, kMaxKvsname)
          .add(AttributeId::keylen_max, kMaxKey)
          .add(AttributeId::vallen_max, kMaxValue)
          .end();
      break;
    case MessageId::get_universe_size:
      LineWriter(out, MessageId::universe_size)
          .add(AttributeId::size, job_.options().universe_size.value_or(job_.size()))
          .end();
      break;
    case MessageId::get_appnum:
      LineWriter(out, MessageId::appnum)
          .add(AttributeId::appnum, job_.options().layout.place(rank_).appnum)
          .end();
      break;
    case MessageId::get_my_kvsname:
      LineWriter(out, MessageId::my_kvsname).add(AttributeId::kvsname, job_.options().kvsname).end();
      break;
    default:
      return refuse(spec, kFail, "not_supported", effects);
  }
  effects.share(connection_, offset);
}

void ServerSession::on_init(const Parsed& parsed, Effects& effects) {
  const std::int32_t version = parsed.integer(AttributeId::pmi_version).value_or(0);
  const std::int32_t subversion = parsed.integer(AttributeId::pmi_subversion).value_or(0);
  std::string_view refusal;
  if (version != kVersion || subversion < 0) {
    refusal = "pmi_version_not_supported";
  } else if (state_ == State::initialized) {
    // What others have got of it since the barrier, a process that starts again would not stand by.
    refusal = goes_on_ ? "a_rank_cannot_start_again_after_a_barrier" : "already_initialized";
  }
  // The smaller of both versions: a client may insist on exactly its own (Flux: 1.1).
  const std::int32_t agreed = refusal.empty() ? std::min(subversion, kSubversion) : kSubversion;
  const std::size_t offset = effects.mark();
  LineWriter line(effects.buffer(), MessageId::init_reply);
  line.add(AttributeId::pmi_version, kVersion).add(AttributeId::pmi_subversion, agreed);
  if (!refusal.empty()) {
    protocol_error("init: " + std::string(refusal), effects);
    line.add(AttributeId::rc, kFail).add(AttributeId::msg, refusal).end();
    return effects.share(connection_, offset);
  }
  line.add(AttributeId::rc, kSuccess).end();
  effects.share(connection_, offset);
  state_ = State::initialized;
  job_.auth_.spend(rank_);
  job_.ranks_[rank_].state = RankState::initialized;
  effects.event({.type = EventType::initialized,
                 .rank = static_cast<std::int32_t>(rank_),
                 .version = kVersion,
                 .subversion = static_cast<std::uint32_t>(agreed)});
}

bool ServerSession::own_kvs(const Parsed& parsed) const {
  return !parsed.attributes.has(AttributeId::kvsname) ||
         parsed.text(AttributeId::kvsname) == job_.options().kvsname;
}

void ServerSession::on_put(const Parsed& parsed, Effects& effects) {
  const std::string_view key = parsed.text(AttributeId::key);
  std::string_view fault;
  int rc = kInvalidKey;
  if (!own_kvs(parsed)) {
    fault = "unknown_kvsname";
    rc = kInvalidArgument;
  } else if (key.empty()) {
    fault = "empty_key";
  } else if (key.starts_with(kReservedPrefix)) {
    fault = "reserved_key";
  }
  if (!fault.empty()) {
    protocol_error("put: " + std::string(fault), effects);
    return refuse(*parsed.spec, rc, fault, effects);
  }
  job_.kvs_.put(key, parsed.text(AttributeId::value));
  const std::size_t offset = effects.mark();
  LineWriter(effects.buffer(), MessageId::put_result)
      .add(AttributeId::rc, kSuccess)
      .add(AttributeId::msg, "success")
      .end();
  effects.share(connection_, offset);
}

void ServerSession::on_get(const Parsed& parsed, Effects& effects) {
  if (!own_kvs(parsed)) {
    protocol_error("get: unknown_kvsname", effects);
    return refuse(*parsed.spec, kInvalidArgument, "unknown_kvsname", effects);
  }
  const std::string* value = job_.kvs_.get(parsed.text(AttributeId::key));
  // To ask for a key that is not there is no fault of the client's.
  if (value == nullptr) return refuse(*parsed.spec, kFail, "key_not_found", effects);
  const std::size_t offset = effects.mark();
  LineWriter(effects.buffer(), MessageId::get_result)
      .add(AttributeId::rc, kSuccess)
      .add(AttributeId::msg, "success")
      .add(AttributeId::value, *value)
      .end();
  effects.share(connection_, offset);
}

void ServerSession::on_finalize(Effects& effects) {
  state_ = State::finalized;
  job_.auth_.retire(rank_);
  const std::size_t offset = effects.mark();
  LineWriter(effects.buffer(), MessageId::finalize_ack).end();
  effects.share(connection_, offset);
  job_.finalized(rank_, effects);
}

void ServerSession::on_abort(const Parsed& parsed, Effects& effects) {
  // pmi-1.1's default for an abort that says no code.
  constexpr std::int32_t kDefaultExitCode = 1;
  effects.event({.type = EventType::aborted,
                 .rank = static_cast<std::int32_t>(rank_),
                 .exit_code = parsed.integer(AttributeId::exitcode).value_or(kDefaultExitCode),
                 .in_barrier = job_.barrier_.inside(rank_),
                 .barrier = job_.barrier_.number(),
                 .message = std::string(parsed.text(AttributeId::message))});
}

void ServerSession::refuse(const wire::MessageSpec& request, int rc, std::string_view message,
                           Effects& effects) {
  reply_error(wire::spec_of(request.reply).v1, rc, message, effects);
}

void ServerSession::reply_error(std::string_view reply, int rc, std::string_view message, Effects& effects) {
  const std::size_t offset = effects.mark();
  effects.buffer().append("cmd=").append(reply).append(" rc=").append(std::to_string(rc));
  effects.buffer().append(" msg=").append(message).append("\n");
  effects.share(connection_, offset);
}

void ServerSession::protocol_error(std::string message, Effects& effects) {
  effects.event({.type = EventType::protocol_error,
                 .rank = static_cast<std::int32_t>(rank_),
                 .message = std::move(message)});
}

void ServerSession::reject(std::string reason, Effects& effects) {
  job_.auth_.forget(connection_);
  job_.reject(peer_, std::move(reason), effects);
  effects.close(connection_);
  state_ = State::closed;
}

void ServerSession::close(Effects& effects) {
  job_.rank_ended(rank_, effects);
  effects.close(connection_);
  state_ = State::closed;
}

}  // namespace wireup::job
