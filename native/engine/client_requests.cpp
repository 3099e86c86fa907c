// What a client's requests are on the wire, and which of them cannot be said.
#include <string>

#include "engine/client_session.h"
#include "engine/result_codes.h"
#include "wire/barrier_group.h"

namespace wireup::engine {
namespace {

using wire::AttributeId;
using wire::MessageId;
using wire::MessageWriter;
using wire::ValueType;
using wire::Version;

// The one attribute of the job that PMI-2's handshake asks for.
constexpr std::string_view kUniverseSize = "universeSize";

}  // namespace

ClientSession::Refusal ClientSession::refusal_of(const Request& request) const {
  if (request.id == 0) return {};
  if (finalized_) return {kErrInit, "finalize has been called"};
  switch (request.message) {
    case MessageId::barrier_in:
      if (request.key.empty()) return {};
      if (is_v2() || info_.subversion < 2)
        return {kFail, "barriers of groups need a server and a client of PMI 1.2"};
      if (!wire::parse_barrier_group(request.key)) return {kInvalidArgument, "the group is none"};
      return {};
    case MessageId::spawn:
      if (request.value.empty()) return {kInvalidArgument, "what is to be spawned cannot be said"};
      return {};
    case MessageId::put_node_attribute:
    case MessageId::get_node_attribute:
    case MessageId::get_job_attribute:
      if (!is_v2()) return {kFail, "attributes need PMI 2"};
      return unsayable(request);
    case MessageId::put:
    case MessageId::get:
    case MessageId::publish_name:
    case MessageId::unpublish_name:
    case MessageId::lookup_name:
      return unsayable(request);
    default:
      return {};
  }
}

ClientSession::Refusal ClientSession::unsayable(const Request& request) const {
  const bool named = request.message == MessageId::publish_name ||
                     request.message == MessageId::unpublish_name ||
                     request.message == MessageId::lookup_name;
  const std::string key = named ? "the service's name" : "the key";
  const std::string value = named ? "the port" : "the value";
  const std::int32_t bad_key = named ? kInvalidArgument : kInvalidKey;
  if (request.key.empty()) return {bad_key, key + " is empty"};
  if (!wire::is_encodable(ValueType::word, Version::v1, request.key)) {
    return {bad_key, key + " holds a blank, a newline, a NUL byte or '='"};
  }
  if (is_v2() && !wire::is_encodable(ValueType::word, Version::v2, request.key))
    return {bad_key, key + " holds a semicolon"};
  // No server says a limit for names: ours is that of a value.
  const std::size_t key_max = named ? info_.value_max : info_.key_max;
  if (request.key.size() >= key_max) {
    return {named ? kInvalidArgument : kInvalidKeyLength,
            key + " is over " + std::to_string(key_max - 1) + " bytes"};
  }
  if (!wire::is_encodable(ValueType::rest_of_line, Version::v1, request.value)) {
    return {named ? kInvalidArgument : kInvalidValue, value + " holds a newline or a NUL byte"};
  }
  if (is_v2() && !wire::is_encodable(ValueType::rest_of_line, Version::v2, request.value)) {
    return {named ? kInvalidArgument : kInvalidValue, value + " holds a semicolon"};
  }
  const std::size_t room = named ? info_.value_max - request.key.size() : info_.value_max;
  if (request.value.size() >= room) {
    return {named ? kInvalidArgument : kInvalidValueLength,
            value + " is over " + std::to_string(room - 1) + " bytes"};
  }
  return {};
}

// False: it cannot be said, and nothing of it has been written.
bool ClientSession::write(const Request& request, std::string& out) const {
  if (request.message == MessageId::spawn) {
    out.append(request.value);
    return true;
  }
  MessageWriter line(out, request.message, framed_ ? Version::v2 : Version::v1);
  switch (request.message) {
    case MessageId::init:
      line.add(AttributeId::pmi_version, is_v2() ? 2 : 1)
          .add(AttributeId::pmi_subversion, is_v2() ? 0 : options_.subversion);
      break;
    case MessageId::initack:
      line.add(AttributeId::pmiid, options_.pmi_id.value_or(std::to_string(options_.rank)));
      if (!options_.job_id.empty()) line.add(AttributeId::pmijobid, options_.job_id);
      // Of several threads of ours none speaks before another has been answered.
      line.add(AttributeId::threaded, "FALSE");
      break;
    case MessageId::put:
      if (!is_v2()) line.add(AttributeId::kvsname, info_.kvsname);
      line.add(AttributeId::key, request.key).add(AttributeId::value, request.value);
      break;
    case MessageId::barrier_in:
      if (!request.key.empty()) line.add(AttributeId::group, request.key);
      break;
    case MessageId::put_node_attribute:
      line.add(AttributeId::key, request.key).add(AttributeId::value, request.value);
      break;
    case MessageId::get_node_attribute:
      line.add(AttributeId::key, request.key).add(AttributeId::wait, request.value);
      break;
    case MessageId::get_job_attribute:
      line.add(AttributeId::key, request.id == 0 ? kUniverseSize : std::string_view(request.key));
      break;
    case MessageId::get:
      line.add(AttributeId::kvsname, info_.kvsname).add(AttributeId::key, request.key);
      break;
    case MessageId::publish_name:
      line.add(AttributeId::service, request.key).add(AttributeId::port, request.value);
      break;
    case MessageId::unpublish_name:
    case MessageId::lookup_name:
      line.add(AttributeId::service, request.key);
      break;
    default:
      break;
  }
  return line.end();
}

}  // namespace wireup::engine
