// The commands of an initialized rank, in both versions of PMI.
#include <algorithm>
#include <charconv>
#include <utility>

#include "engine/process_group.h"
#include "engine/result_codes.h"
#include "engine/server_session.h"
#include "wire/printable.h"

namespace wireup::engine {
namespace {

using wire::AttributeId;
using wire::MessageId;
using wire::MessageWriter;
using wire::Parsed;

// Makes one word of a reason that a driver gives.
std::string to_word(std::string_view text) {
  std::string word(wire::cut(text, kMaxValue / 2));
  for (char& c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f || c == ';' || c == '=') c = '_';
  }
  return word.empty() ? "failed" : word;
}

// One code for each process. If the list does not fit into a client's buffer, the result is empty if all
// codes are 0, which is what a client assumes without the attribute, and nothing otherwise.
std::optional<std::string> errcodes_text(const std::vector<std::int32_t>& codes) {
  std::string text;
  for (const std::int32_t code : codes) {
    if (!text.empty()) text += ',';
    text += std::to_string(code);
  }
  if (text.size() < kMaxValue) return text;
  if (std::ranges::all_of(codes, [](std::int32_t code) { return code == 0; })) return std::string();
  return std::nullopt;
}

NameOperation operation_of(MessageId command) {
  if (command == MessageId::publish_name) return NameOperation::publish;
  return command == MessageId::unpublish_name ? NameOperation::unpublish : NameOperation::lookup;
}

// The messages of MPICH's servers, where these have one; empty for no error.
std::string_view describe(NameError error) {
  switch (error) {
    case NameError::none:
      return {};
    case NameError::taken:
      return "key_already_present";
    case NameError::not_found:
      return "service_not_found";
    case NameError::full:
      return "too_many_names";
    case NameError::gone:
      return "name_server_has_gone";
  }
  return {};
}

}  // namespace

void ServerSession::on_request(const Parsed& parsed, Effects& effects) {
  const ProcessGroupOptions& options = group_.options();
  switch (parsed.spec->id) {
    case MessageId::put:
      return on_put(parsed, effects);
    case MessageId::get:
    case MessageId::get_job_attribute:
      return on_get(parsed, effects);
    case MessageId::barrier_in:
      return on_barrier(parsed, effects);
    case MessageId::finalize:
      return on_finalize(effects);
    case MessageId::publish_name:
    case MessageId::unpublish_name:
    case MessageId::lookup_name:
      return on_name(parsed, effects);
    case MessageId::put_node_attribute:
      return on_put_attribute(parsed, effects);
    case MessageId::get_node_attribute:
      return on_get_attribute(parsed, effects);
    case MessageId::get_maxes:
      return reply(MessageId::maxes, effects, [](MessageWriter& message) {
        message.add(AttributeId::kvsname_max, kMaxKvsname)
            .add(AttributeId::keylen_max, kMaxKey)
            .add(AttributeId::vallen_max, kMaxValue);
      });
    case MessageId::get_universe_size:
      return reply(MessageId::universe_size, effects, [&](MessageWriter& message) {
        message.add(AttributeId::size, options.universe_size.value_or(group_.size()));
      });
    case MessageId::get_appnum:
      return reply(MessageId::appnum, effects, [&](MessageWriter& message) {
        message.add(AttributeId::appnum, options.layout.place(rank_).appnum);
      });
    case MessageId::get_my_kvsname:
      return reply(MessageId::my_kvsname, effects, [&](MessageWriter& message) {
        if (is_v2()) message.add(AttributeId::rc, kSuccess);
        message.add(AttributeId::kvsname, options.kvsname);
      });
    default:
      return refuse(*parsed.spec, kFail, "not_supported", effects);
  }
}

bool ServerSession::own_kvs(const Parsed& parsed) const {
  const std::string_view name = parsed.text(AttributeId::kvsname);
  // Slurm's library sends an empty name if its caller gives none.
  if (!parsed.attributes.has(AttributeId::kvsname) || (is_v2() && name.empty())) return true;
  return name == group_.options().kvsname;
}

void ServerSession::on_put(const Parsed& parsed, Effects& effects) {
  const std::string_view key = parsed.text(AttributeId::key);
  if (!own_kvs(parsed)) return refuse_bad_request(*parsed.spec, kInvalidArgument, "unknown_kvsname", effects);
  if (key.empty()) return refuse_bad_request(*parsed.spec, kInvalidKey, "empty_key", effects);
  if (key.starts_with(kReservedPrefix))
    return refuse_bad_request(*parsed.spec, kInvalidKey, "reserved_key", effects);
  if (!group_.kvs_.put(key, parsed.text(AttributeId::value))) return refuse_full(*parsed.spec, effects);
  reply(MessageId::put_result, effects, [](MessageWriter& message) { message.add_success(); });
}

// The job attributes are two numbers of the process group, and the server's own keys.
std::optional<std::string> ServerSession::job_attribute(std::string_view key) const {
  if (key == "universeSize") return std::to_string(group_.options().universe_size.value_or(group_.size()));
  if (key == "hasNameServ") return "TRUE";
  const std::string* value = key.starts_with(kReservedPrefix) ? group_.kvs_.get(key) : nullptr;
  return value == nullptr ? std::nullopt : std::optional(*value);
}

// A get of a missing key or key-value space is not an invalid request. An MPICH (ch3) that was started
// without a launcher gets the key "foobar" of the space "foobar" after it has spawned.
void ServerSession::on_get(const Parsed& parsed, Effects& effects) {
  if (!own_kvs(parsed)) return refuse(*parsed.spec, kInvalidArgument, "unknown_kvsname", effects);
  const std::string_view key = parsed.text(AttributeId::key);
  std::optional<std::string> attribute;
  if (parsed.spec->id == MessageId::get_job_attribute) attribute = job_attribute(key);
  const std::string* value = parsed.spec->id == MessageId::get ? group_.kvs_.get(key) : nullptr;
  if (attribute) value = &*attribute;
  if (value == nullptr && !is_v2()) return refuse(*parsed.spec, kFail, "key_not_found", effects);
  if (value == nullptr) {
    return reply(parsed.spec->reply, effects, [](MessageWriter& message) {
      message.add(AttributeId::rc, kSuccess).add(AttributeId::found, "FALSE");
    });
  }
  if (is_v2()) return write_attribute(parsed.spec->reply, thrid_, *value, effects);
  reply(MessageId::get_result, effects,
        [&](MessageWriter& message) { message.add_success().add(AttributeId::value, *value); });
}

void ServerSession::write_attribute(MessageId reply, std::string_view thrid, std::string_view value,
                                    Effects& effects) const {
  const std::size_t offset = effects.mark();
  MessageWriter message(effects.buffer(), reply, version_, thrid);
  if (wire::is_encodable(wire::ValueType::rest_of_line, version_, value)) {
    message.add(AttributeId::rc, kSuccess)
        .add(AttributeId::found, "TRUE")
        .add(AttributeId::value, value)
        .end();
  } else {
    message.add(AttributeId::rc, kInvalidValue).add(AttributeId::msg, "semicolon_in_value").end();
  }
  effects.share(connection_, offset);
}

void ServerSession::on_barrier(const Parsed& parsed, Effects& effects) {
  const wire::MessageSpec& request = *parsed.spec;
  if (parsed.attributes.has(AttributeId::group)) {
    const std::string_view group = parsed.text(AttributeId::group);
    if (subversion_ < 2) return refuse_bad_request(request, kFail, "groups_need_PMI_1.2", effects);
    return on_group_barrier(request, group, effects);
  }
  if (!group_.barrier_.inside(rank_)) fence_thrid_ = thrid_;
  if (group_.enter_barrier(rank_, effects) == Barrier::Entry::twice) {
    refuse_bad_request(request, kFail, "already_in_barrier", effects);
  }
}

void ServerSession::on_group_barrier(const wire::MessageSpec& request, std::string_view text,
                                     Effects& effects) {
  const auto refused = [&](std::int32_t tag, std::string_view why) {
    protocol_error(std::string(request.v1) + ": " + std::string(why), effects);
    reply(MessageId::barrier_out, effects, [&](MessageWriter& message) {
      message.add(AttributeId::rc, kFail).add(AttributeId::msg, why).add(AttributeId::tag, tag);
    });
  };
  const std::optional<wire::BarrierGroup> group = wire::parse_barrier_group(text);
  if (!group) return refused(0, "bad_group");
  const bool of_all = group->kind == wire::BarrierGroup::Kind::world && group->tag == 0;
  if (of_all) {
    if (group_.enter_barrier(rank_, effects) == Barrier::Entry::twice) refused(0, "already_in_barrier");
    return;
  }
  if (deferred_ >= kMaxDeferred) return refused(group->tag, "too_many_barriers_at_once");
  const GroupBarriers::Result result = group_.enter_group(rank_, *group, text, effects);
  switch (result.entry) {
    case GroupBarriers::Entry::waiting:
      ++deferred_;
      return;
    case GroupBarriers::Entry::complete:
      return;
    case GroupBarriers::Entry::not_member:
      return refused(group->tag, "not_in_group");
    case GroupBarriers::Entry::unknown_rank:
      return refused(group->tag, "no_such_rank_in_job");
    case GroupBarriers::Entry::twice:
      return refused(group->tag, "already_in_barrier");
    case GroupBarriers::Entry::failed:
      return write_group_failure(result.gone, group->tag, effects);
  }
}

void ServerSession::write_group_failure(std::uint32_t gone, std::int32_t tag, Effects& effects) const {
  const std::size_t offset = effects.mark();
  MessageWriter(effects.buffer(), MessageId::barrier_out)
      .add(AttributeId::rc, kFail)
      .add(AttributeId::msg, "rank_" + std::to_string(gone) + "_has_left")
      .add(AttributeId::tag, tag)
      .end();
  effects.share(connection_, offset);
}

ServerSession::BarrierForm ServerSession::barrier_form() const {
  if (!is_v2()) return subversion_ < 2 ? BarrierForm::plain : BarrierForm::tagged;
  return fence_thrid_.empty() ? BarrierForm::frame : BarrierForm::own;
}

void ServerSession::append_barrier_out(Effects& effects) const {
  MessageWriter message(effects.buffer(), MessageId::barrier_out, version_, fence_thrid_);
  if (is_v2() || subversion_ >= 2) message.add(AttributeId::rc, kSuccess);
  if (!is_v2() && subversion_ >= 2) message.add(AttributeId::tag, 0);
  message.end();
}

void ServerSession::write_barrier_out(Effects& effects) const {
  const std::size_t offset = effects.mark();
  append_barrier_out(effects);
  effects.share(connection_, offset);
}

// Returns false if the request was refused.
bool ServerSession::defer(const wire::MessageSpec& request, Effects& effects) {
  if (deferred_ >= kMaxDeferred) {
    refuse_bad_request(request, kFail, "too_many_requests_at_once", effects);
    return false;
  }
  ++deferred_;
  return true;
}

void ServerSession::on_put_attribute(const Parsed& parsed, Effects& effects) {
  const std::string_view key = parsed.text(AttributeId::key);
  if (key.empty()) return refuse_bad_request(*parsed.spec, kInvalidKey, "empty_key", effects);
  const std::string_view value = parsed.text(AttributeId::value);
  const auto waiters = group_.attributes_.put(group_.options().layout.place(rank_).node, key, value);
  if (!waiters) return refuse_full(*parsed.spec, effects);
  reply_success(*parsed.spec, effects);
  group_.answer_waiters(*waiters, value, effects);
}

// Not an invalid request, because other ranks may have filled the space. An event reports it once.
void ServerSession::refuse_full(const wire::MessageSpec& request, Effects& effects) {
  if (!std::exchange(group_.full_reported_, true)) {
    report_error(std::string(request.wire_name(version_)) +
                     ": the keys and values of the job exceed the limit of " +
                     std::to_string(group_.share_.space().limit()) + " bytes",
                 effects);
  }
  refuse(request, kNoMemory, "too_many_keys_and_values", effects);
}

void ServerSession::on_get_attribute(const Parsed& parsed, Effects& effects) {
  const std::uint32_t node = group_.options().layout.place(rank_).node;
  const std::string_view key = parsed.text(AttributeId::key);
  if (const std::string* value = group_.attributes_.get(node, key)) {
    return write_attribute(parsed.spec->reply, thrid_, *value, effects);
  }
  if (parsed.text(AttributeId::wait) == "TRUE") {
    if (defer(*parsed.spec, effects)) group_.attributes_.wait(node, key, {connection_, std::string(thrid_)});
    return;
  }
  reply(parsed.spec->reply, effects, [](MessageWriter& message) {
    message.add(AttributeId::rc, kSuccess).add(AttributeId::found, "FALSE");
  });
}

void ServerSession::on_name(const Parsed& parsed, Effects& effects) {
  const wire::MessageSpec& spec = *parsed.spec;
  NameRequest request{operation_of(spec.id), std::string(parsed.text(AttributeId::service)),
                      std::string(parsed.text(AttributeId::port))};
  if (request.service.empty()) return refuse_bad_request(spec, kInvalidArgument, "empty_name", effects);
  if (!group_.options().names_elsewhere) {
    const NameAnswer answer = group_.options().names->execute(group_.name_owner_, request);
    return write_name_result(spec.reply, thrid_, answer, effects);
  }
  if (defer(spec, effects))
    group_.ask_name(rank_, connection_, thrid_, spec.reply, std::move(request), effects);
}

// An error here is not an invalid request. MPICH's older clients use info, the others rc.
void ServerSession::write_name_result(MessageId reply, std::string_view thrid, const NameAnswer& answer,
                                      Effects& effects) const {
  const bool looked_up = reply == MessageId::lookup_result && answer.error == NameError::none;
  std::string_view refusal = describe(answer.error);
  if (looked_up && is_v2() && !wire::is_encodable(wire::ValueType::rest_of_line, version_, answer.port))
    refusal = "semicolon_in_value";
  const std::size_t offset = effects.mark();
  MessageWriter message(effects.buffer(), reply, version_, thrid);
  message.add(AttributeId::rc, refusal.empty() ? kSuccess : kNameError);
  if (!is_v2()) message.add(AttributeId::info, refusal.empty() ? "ok" : "notok");
  if (!refusal.empty()) {
    message.add(AttributeId::msg, refusal);
  } else if (looked_up) {
    message.add(AttributeId::port, answer.port);
    if (is_v2()) message.add(AttributeId::value, answer.port);
  }
  message.end();
  effects.share(connection_, offset);
}

// Deferred requests of the rank, of another thread or a child process, never get a reply after this. The
// session closes the connection so that they fail.
void ServerSession::on_finalize(Effects& effects) {
  const bool leaves_requests = has_deferred();
  state_ = State::finalized;
  reply(MessageId::finalize_ack, effects, [this](MessageWriter& message) {
    if (is_v2()) message.add(AttributeId::rc, kSuccess);
  });
  group_.finalized(rank_, effects);
  if (leaves_requests) close("it sent finalize before its other requests were answered", effects);
}

void ServerSession::on_spawn(SpawnReader& reader, Effects& effects) {
  const wire::MessageSpec& request = wire::spec_of(MessageId::spawn);
  if (state_ != State::initialized) return refuse_out_of_turn(request, effects);
  if (const std::string& error = reader.finish(); !error.empty())
    return refuse_bad_request(request, kFail, error, effects);
  if (defer(request, effects)) group_.ask_spawn(rank_, connection_, thrid_, reader.take(), effects);
}

void ServerSession::write_spawn_result(std::string_view thrid, const SpawnAnswer& answer,
                                       Effects& effects) const {
  const auto errcodes = errcodes_text(answer.errcodes);
  const std::size_t offset = effects.mark();
  MessageWriter message(effects.buffer(), MessageId::spawn_result, version_, thrid);
  if (answer.rc != kSuccess) {
    message.add(AttributeId::rc, answer.rc).add(AttributeId::msg, to_word(answer.message));
  } else if (!errcodes) {
    message.add(AttributeId::rc, kFail).add(AttributeId::msg, "too_many_errcodes_for_a_reply");
  } else {
    message.add(AttributeId::rc, kSuccess);
    if (is_v2() && !answer.kvsname.empty()) message.add(AttributeId::kvsname, answer.kvsname);
    if (!errcodes->empty()) message.add(AttributeId::errcodes, *errcodes);
  }
  message.end();
  effects.share(connection_, offset);
}

}  // namespace wireup::engine
