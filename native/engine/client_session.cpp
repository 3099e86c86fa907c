#include "engine/client_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/kvs.h"
#include "engine/result_codes.h"
#include "wire/printable.h"
#include "wire/servers.h"

namespace wireup::engine {
namespace {

using wire::AttributeId;
using wire::Direction;
using wire::MessageId;
using wire::MessageWriter;
using wire::Parsed;
using wire::ParseStatus;

constexpr std::array kStartup = {MessageId::init, MessageId::get_maxes, MessageId::get_my_kvsname,
                                 MessageId::get_appnum, MessageId::get_universe_size};
constexpr std::array kStartup2 = {MessageId::init, MessageId::initack, MessageId::get_my_kvsname,
                                  MessageId::get_job_attribute};

std::vector<std::int32_t> to_codes(std::string_view text) {
  std::vector<std::int32_t> codes;
  while (!text.empty()) {
    std::int32_t code = 0;
    const std::string_view word = text.substr(0, text.find(','));
    std::from_chars(word.data(), word.data() + word.size(), code);
    codes.push_back(code);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return codes;
}

void answer(Answer answer, ClientEffects& effects) {
  effects.events.emplace_back(std::in_place_type<Answer>, std::move(answer));
}

// The text of an unexpected message, shortened and printable.
std::string excerpt(std::string_view text) { return wire::printable(wire::cut(text, kMaxKey)); }

std::string reason_of(const Parsed& parsed) {
  const std::string_view message = parsed.text(AttributeId::msg);
  return message.empty() ? std::string() : ": " + wire::printable(message);
}

// Requests that a server answers at once, without waiting for other ranks.
bool pipelines(MessageId message) { return message == MessageId::put || message == MessageId::get; }

bool set_size(const Parsed& parsed, AttributeId id, std::size_t& out) {
  const std::int32_t value = parsed.integer(id).value_or(0);
  if (value <= 0) return false;
  out = static_cast<std::size_t>(value);
  return true;
}

bool set_unsigned(const Parsed& parsed, AttributeId id, std::uint32_t& out) {
  const std::int32_t value = parsed.integer(id).value_or(-1);
  if (value < 0) return false;
  out = static_cast<std::uint32_t>(value);
  return true;
}

}  // namespace

ClientSession::ClientSession(ClientOptions options) : options_(std::move(options)) {
  info_.rank = options_.rank;
  info_.size = options_.size;
  info_.spawned = options_.spawned;
}

ClientSession::~ClientSession() = default;

void ClientSession::start(ClientEffects& effects) {
  if (state_ != State::idle) return;
  if (options_.handshake_only) options_.version = wire::Version::v1;
  if (is_v2() && !wire::is_encodable(wire::ValueType::word, wire::Version::v2, options_.job_id)) {
    return fail(Failed::Reason::protocol, "PMI_JOBID has a byte that PMI cannot carry", effects);
  }
  if (options_.pmi_id) {
    if (options_.pmi_id->empty() ||
        !wire::is_encodable(wire::ValueType::word, wire::Version::v1, *options_.pmi_id) ||
        !wire::is_encodable(wire::ValueType::word, options_.version, *options_.pmi_id)) {
      return fail(Failed::Reason::protocol, "PMI_ID is empty or has a byte that PMI cannot carry", effects);
    }
    if (is_v2()) return begin(effects);
    state_ = State::identifying;
    MessageWriter(effects.send, MessageId::initack).add(AttributeId::pmiid, *options_.pmi_id).end();
    return;
  }
  if (options_.handshake_only) return on_ready(effects);
  begin(effects);
}

void ClientSession::begin(ClientEffects& effects) {
  state_ = State::starting;
  // The handshake goes before requests that were made earlier.
  const auto enqueue_first = [this](const auto& startup) {
    for (auto message = startup.rbegin(); message != startup.rend(); ++message)
      waiting_.push_front({*message});
  };
  if (is_v2()) {
    enqueue_first(kStartup2);
  } else {
    enqueue_first(kStartup);
  }
  pump(effects);
}

RequestId ClientSession::put(std::string_view key, std::string_view value, ClientEffects& effects) {
  return enqueue({MessageId::put, ++last_id_, std::string(key), std::string(value)}, effects);
}

RequestId ClientSession::get(std::string_view key, ClientEffects& effects) {
  return enqueue({MessageId::get, ++last_id_, std::string(key)}, effects);
}

RequestId ClientSession::barrier(std::string_view group, ClientEffects& effects) {
  return enqueue({MessageId::barrier_in, ++last_id_, std::string(group)}, effects);
}

RequestId ClientSession::put_node_attribute(std::string_view key, std::string_view value,
                                            ClientEffects& effects) {
  return enqueue({MessageId::put_node_attribute, ++last_id_, std::string(key), std::string(value)}, effects);
}

RequestId ClientSession::get_node_attribute(std::string_view key, bool wait, ClientEffects& effects) {
  return enqueue({MessageId::get_node_attribute, ++last_id_, std::string(key), wait ? "TRUE" : "FALSE"},
                 effects);
}

RequestId ClientSession::get_job_attribute(std::string_view key, ClientEffects& effects) {
  return enqueue({MessageId::get_job_attribute, ++last_id_, std::string(key)}, effects);
}

RequestId ClientSession::spawn(const SpawnRequest& spawn, ClientEffects& effects) {
  return enqueue({MessageId::spawn, ++last_id_, {}, format_spawn(spawn, options_.version)}, effects);
}

RequestId ClientSession::publish(std::string_view service, std::string_view port, ClientEffects& effects) {
  return enqueue({MessageId::publish_name, ++last_id_, std::string(service), std::string(port)}, effects);
}

RequestId ClientSession::unpublish(std::string_view service, ClientEffects& effects) {
  return enqueue({MessageId::unpublish_name, ++last_id_, std::string(service)}, effects);
}

RequestId ClientSession::lookup(std::string_view service, ClientEffects& effects) {
  return enqueue({MessageId::lookup_name, ++last_id_, std::string(service)}, effects);
}

RequestId ClientSession::finalize(ClientEffects& effects) {
  return enqueue({MessageId::finalize, ++last_id_}, effects);
}

void ClientSession::abort(std::int32_t exit_code, std::string_view message, ClientEffects& effects) {
  if (state_ == State::over) return;
  // The message is shortened, so that abort always fits in a line.
  constexpr std::size_t kMaxMessage = kMaxLine / 2;
  std::string text(wire::cut(message, kMaxMessage));
  const wire::Version version = framed_ ? wire::Version::v2 : wire::Version::v1;
  const std::string_view reserved = wire::reserved_bytes(wire::ValueType::rest_of_line, version);
  for (char& c : text) {
    if (reserved.find(c) != std::string_view::npos) c = c == ';' ? ',' : ' ';
  }
  MessageWriter line(effects.send, MessageId::abort, version);
  line.add(AttributeId::exitcode, exit_code);
  if (!text.empty()) line.add(AttributeId::message, text);
  line.end();
}

void ClientSession::receive(std::string_view bytes, ClientEffects& effects) {
  while (state_ != State::over) {
    std::string_view line;
    if (framed_) {
      switch (frames_.next(bytes, line)) {
        case wire::FrameFramer::Result::more:
          return;
        case wire::FrameFramer::Result::frame:
          on_message(wire::parse_v2(line, Direction::to_client, scratch_), line, effects);
          continue;
        default:
          return fail(Failed::Reason::protocol, "the server sent a malformed PMI-2 frame", effects);
      }
    }
    switch (framer_.next(bytes, line)) {
      case wire::LineFramer::Result::more:
        return;
      case wire::LineFramer::Result::too_long:
        return fail(Failed::Reason::protocol,
                    "the server sent a line of more than " + std::to_string(kMaxLine) + " bytes", effects);
      case wire::LineFramer::Result::line:
        on_line(line, effects);
        break;
    }
  }
}

void ClientSession::eof(ClientEffects& effects) {
  if (state_ == State::over) return;
  if (finalized_) {
    state_ = State::over;
    effects.close = true;
    return;
  }
  // A server refuses an initack by closing the connection without a reply.
  const bool refused = options_.pmi_id && !identified_;
  fail(refused ? Failed::Reason::refused : Failed::Reason::hung_up,
       refused ? "the server closed the connection instead of answering " +
                     std::string(wire::spec_of(MessageId::initack).wire_name(options_.version)) +
                     ": PMI_ID is wrong or has been used, or this user is not allowed"
               : "the server closed the connection",
       effects);
}

RequestId ClientSession::enqueue(Request request, ClientEffects& effects) {
  const RequestId id = request.id;
  if (state_ == State::over) return id;
  waiting_.push_back(std::move(request));
  if (state_ == State::ready) pump(effects);
  return id;
}

bool ClientSession::can_send(const Request& request) const {
  if (in_flight_.empty()) return true;
  // A request that does not pipeline is the only one in flight.
  return pipelines(request.message) && pipelines(in_flight_.back().message) &&
         in_flight_.size() < options_.window;
}

void ClientSession::pump(ClientEffects& effects) {
  while (!waiting_.empty() && can_send(waiting_.front()) && state_ != State::over) {
    Refusal refusal = refusal_of(waiting_.front());
    // Answers keep the order of the requests, so a refusal waits for the replies to earlier ones.
    if (refusal.rc != kSuccess && !in_flight_.empty()) return;
    Request request = std::move(waiting_.front());
    waiting_.pop_front();
    if (refusal.rc != kSuccess) {
      answer({.request = request.id,
              .rc = refusal.rc,
              .value = {},
              .message = std::move(refusal.message),
              .local = true},
             effects);
      continue;
    }
    if (!write(request, effects.send)) {
      return fail(Failed::Reason::protocol, "the server's kvsname has a byte that PMI cannot carry", effects);
    }
    in_flight_.push_back(std::move(request));
  }
}

void ClientSession::on_line(std::string_view line, ClientEffects& effects) {
  // RFC 13 answers abort with an empty line.
  if (line.find_first_not_of(" \t") == std::string_view::npos) return;
  const Parsed parsed = wire::parse_v1(line, Direction::to_client);
  if (state_ == State::identifying) return on_identity(parsed, effects);
  on_message(parsed, line, effects);
}

void ClientSession::on_message(const Parsed& parsed, std::string_view text, ClientEffects& effects) {
  const wire::Version version = framed_ ? wire::Version::v2 : wire::Version::v1;
  if (in_flight_.empty()) {
    return fail(Failed::Reason::protocol, "the server sent an unexpected " + excerpt(parsed.command),
                effects);
  }
  const MessageId expected = wire::spec_of(in_flight_.front().message).reply;
  std::int32_t rc = parsed.integer(AttributeId::rc).value_or(kSuccess);
  std::string message(parsed.text(AttributeId::msg));
  const bool is_expected = parsed.spec != nullptr && parsed.spec->id == expected;
  if (!is_expected && parsed.command == wire::spec_of(MessageId::unknown_result).wire_name(version) &&
      rc != kSuccess) {
    // wireup's server sends this reply to a request that it cannot parse at all.
  } else if (!is_expected || parsed.status != ParseStatus::ok) {
    const std::string wanted(wire::spec_of(expected).wire_name(version));
    return fail(
        Failed::Reason::protocol,
        "expected " + wanted + ", the server sent " + (is_expected ? wire::describe(parsed) : excerpt(text)),
        effects);
  }
  const Request request = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (request.id == 0) {
    on_startup_reply(request.message, parsed, rc == kSuccess, effects);
  } else {
    if (request.message == MessageId::finalize && rc == kSuccess) finalized_ = true;
    // PMI-2 reports a missing key as a success with found=FALSE.
    if (rc == kSuccess && parsed.text(AttributeId::found) == "FALSE") {
      rc = kFail;
      message = "not_found";
    }
    const AttributeId wanted = request.message == MessageId::lookup_name ? AttributeId::port
                               : request.message == MessageId::spawn     ? AttributeId::kvsname
                                                                         : AttributeId::value;
    std::string value(rc == kSuccess ? parsed.text(wanted) : std::string_view());
    // In PMI-1's API (RFC 13) a missing reserved key has an empty value. Servers reply with an error
    // nevertheless, because MPICH treats an empty process mapping as a malformed one.
    if (request.message == MessageId::get && !framed_ && request.key.starts_with(kReservedPrefix))
      rc = kSuccess;
    answer({request.id, rc, std::move(value), rc == kSuccess ? std::string() : std::move(message),
            to_codes(parsed.text(AttributeId::errcodes))},
           effects);
  }
  pump(effects);
}

void ClientSession::on_identity(const Parsed& parsed, ClientEffects& effects) {
  if (parsed.status != ParseStatus::ok || parsed.spec == nullptr) {
    return fail(Failed::Reason::protocol,
                "expected the answer to initack, the server sent " + wire::describe(parsed), effects);
  }
  if (identified_) return on_set(parsed, effects);
  if (parsed.spec->id != MessageId::initack_reply) {
    return fail(Failed::Reason::protocol, "expected initack, the server sent " + excerpt(parsed.command),
                effects);
  }
  if (parsed.integer(AttributeId::rc).value_or(kSuccess) != kSuccess) {
    return fail(Failed::Reason::refused, "the server refused initack" + reason_of(parsed), effects);
  }
  identified_ = true;
  info_.spawned = info_.spawned || !parsed.text(AttributeId::spawner_jobid).empty();
}

void ClientSession::on_set(const Parsed& parsed, ClientEffects& effects) {
  if (parsed.spec->id != MessageId::set) {
    return fail(Failed::Reason::protocol, "expected set, the server sent " + excerpt(parsed.command),
                effects);
  }
  have_size_ = set_unsigned(parsed, AttributeId::size, info_.size) || have_size_;
  have_rank_ = set_unsigned(parsed, AttributeId::rank, info_.rank) || have_rank_;
  have_debug_ = parsed.attributes.has(AttributeId::debug) || have_debug_;
  if (!have_size_ || !have_rank_ || !have_debug_) return;
  if (info_.rank >= info_.size) {
    return fail(Failed::Reason::protocol, "the server sent a rank that is not below the size", effects);
  }
  if (options_.handshake_only) return on_ready(effects);
  begin(effects);
}

void ClientSession::on_startup_reply(MessageId asked, const Parsed& parsed, bool ok, ClientEffects& effects) {
  switch (asked) {
    case MessageId::init:
      return on_init_reply(parsed, ok, effects);
    case MessageId::initack:
      return on_fullinit_reply(parsed, ok, effects);
    case MessageId::get_maxes:
      if (!ok || !set_limits(parsed)) {
        fail(Failed::Reason::protocol, "the server did not send its limits" + reason_of(parsed), effects);
      }
      return;
    case MessageId::get_my_kvsname:
      info_.kvsname = parsed.text(AttributeId::kvsname);
      if (!ok || info_.kvsname.empty()) {
        fail(Failed::Reason::protocol, "the server did not send its kvsname" + reason_of(parsed), effects);
      }
      return;
    // The session does not need these two, so an error is ignored.
    case MessageId::get_job_attribute: {
      std::int32_t size = -1;
      const std::string_view text = parsed.text(AttributeId::value);
      if (ok) std::from_chars(text.data(), text.data() + text.size(), size);
      info_.universe_size = size;
      return on_ready(effects);
    }
    case MessageId::get_appnum:
      if (ok) info_.appnum = parsed.integer(AttributeId::appnum).value_or(0);
      return;
    default:
      if (ok) info_.universe_size = parsed.integer(AttributeId::size).value_or(-1);
      return on_ready(effects);
  }
}

void ClientSession::on_init_reply(const Parsed& parsed, bool ok, ClientEffects& effects) {
  const std::uint32_t wanted = is_v2() ? 2 : 1;
  const std::string version(parsed.text(AttributeId::pmi_version));
  if (parsed.integer(AttributeId::pmi_version).value_or(static_cast<std::int32_t>(wanted)) >
      static_cast<std::int32_t>(wanted)) {
    return fail(
        Failed::Reason::protocol,
        "the server supports only PMI " + version + ", this client uses PMI " + std::to_string(wanted),
        effects);
  }
  if (!ok) return fail(Failed::Reason::refused, "the server refused init" + reason_of(parsed), effects);
  if (!set_unsigned(parsed, AttributeId::pmi_version, info_.version) || info_.version != wanted ||
      !set_unsigned(parsed, AttributeId::pmi_subversion, info_.subversion)) {
    return fail(Failed::Reason::protocol, "the server does not support PMI " + std::to_string(wanted),
                effects);
  }
  framed_ = is_v2();
}

void ClientSession::on_fullinit_reply(const Parsed& parsed, bool ok, ClientEffects& effects) {
  if (!ok) return fail(Failed::Reason::refused, "the server refused fullinit" + reason_of(parsed), effects);
  if (!set_unsigned(parsed, AttributeId::rank, info_.rank) ||
      !set_unsigned(parsed, AttributeId::size, info_.size) || info_.rank >= info_.size) {
    return fail(Failed::Reason::protocol, "the server sent no valid rank and size", effects);
  }
  identified_ = true;
  info_.appnum = parsed.integer(AttributeId::appnum).value_or(0);
  info_.spawned = info_.spawned || !parsed.text(AttributeId::spawner_jobid).empty();
  // PMI-2 sends no limits; pmi2.h defines them.
  info_.kvsname_max = kMaxKvsname;
  info_.key_max = kMaxKey;
  info_.value_max = kMaxValue;
}

bool ClientSession::set_limits(const Parsed& parsed) {
  if (!set_size(parsed, AttributeId::kvsname_max, info_.kvsname_max) ||
      !set_size(parsed, AttributeId::keylen_max, info_.key_max) ||
      !set_size(parsed, AttributeId::vallen_max, info_.value_max)) {
    return false;
  }
  // A put must fit in a line of kMaxLine bytes, even if the server announces larger limits.
  constexpr std::size_t kWords = 64;
  info_.key_max = std::min(info_.key_max, kMaxLine / 4);
  info_.value_max = std::min(info_.value_max, kMaxLine - kWords - kMaxKvsname - info_.key_max);
  return true;
}

void ClientSession::on_ready(ClientEffects& effects) {
  if (options_.cautious && !wire::buffers_requests(info_.kvsname)) options_.window = 1;
  state_ = State::ready;
  effects.events.emplace_back(std::in_place_type<Ready>, Ready{info_});
}

void ClientSession::fail(Failed::Reason reason, std::string message, ClientEffects& effects) {
  state_ = State::over;
  waiting_.clear();
  in_flight_.clear();
  effects.events.emplace_back(std::in_place_type<Failed>, Failed{reason, std::move(message)});
  effects.close = true;
}

}  // namespace wireup::engine
