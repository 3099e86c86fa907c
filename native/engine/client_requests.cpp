// The client's requests on the wire, and which of them cannot be sent.
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

// The job attribute that the client reads in PMI-2's handshake.
constexpr std::string_view kUniverseSize = "universeSize";

}  // namespace

ClientSession::Refusal ClientSession::refusal_of(const Request& request) const {
  if (request.id == 0) return {};
  if (finalized_) return {kErrInit, "finalize has been called"};
  switch (request.message) {
    case MessageId::barrier_in:
      if (request.key.empty()) return {};
      if (is_v2() || info_.subversion < 2) return {kFail, "barriers of groups need PMI 1.2 at both sides"};
      if (!wire::parse_barrier_group(request.key)) return {kInvalidArgument, "the group is malformed"};
      return {};
    case MessageId::spawn:
      if (request.value.empty())
        return {kInvalidArgument,
                "a text of the spawn is empty, too long, or has bytes that PMI cannot carry"};
      return {};
    case MessageId::put_node_attribute:
    case MessageId::get_node_attribute:
    case MessageId::get_job_attribute:
      if (!is_v2()) return {kFail, "attributes need PMI 2"};
      return value_refusal(request);
    case MessageId::put:
    case MessageId::get:
    case MessageId::publish_name:
    case MessageId::unpublish_name:
    case MessageId::lookup_name:
      return value_refusal(request);
    default:
      return {};
  }
}

ClientSession::Refusal ClientSession::value_refusal(const Request& request) const {
  const bool named = request.message == MessageId::publish_name ||
                     request.message == MessageId::unpublish_name ||
                     request.message == MessageId::lookup_name;
  const std::string key = named ? "the service's name" : "the key";
  const std::string value = named ? "the port" : "the value";
  const std::int32_t bad_key = named ? kInvalidArgument : kInvalidKey;
  if (request.key.empty()) return {bad_key, key + " is empty"};
  if (!wire::is_encodable(ValueType::word, Version::v1, request.key)) {
    return {bad_key, key + " has a blank, a newline, a NUL byte or '='"};
  }
  if (is_v2() && !wire::is_encodable(ValueType::word, Version::v2, request.key))
    return {bad_key, key + " has a semicolon"};
  // PMI defines no limit for names. A name may be as long as a value.
  const std::size_t key_max = named ? info_.value_max : info_.key_max;
  if (request.key.size() >= key_max) {
    return {named ? kInvalidArgument : kInvalidKeyLength,
            key + " is longer than " + std::to_string(key_max - 1) + " bytes"};
  }
  if (!wire::is_encodable(ValueType::rest_of_line, Version::v1, request.value)) {
    return {named ? kInvalidArgument : kInvalidValue, value + " has a newline or a NUL byte"};
  }
  if (is_v2() && !wire::is_encodable(ValueType::rest_of_line, Version::v2, request.value)) {
    return {named ? kInvalidArgument : kInvalidValue, value + " has a semicolon"};
  }
  const std::size_t value_max = named ? info_.value_max - request.key.size() : info_.value_max;
  if (request.value.size() >= value_max) {
    return {named ? kInvalidArgument : kInvalidValueLength,
            value + " is longer than " + std::to_string(value_max - 1) + " bytes"};
  }
  return {};
}

// Returns false if the wire cannot carry the request. Nothing is written then.
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
      // The session sends one request at a time, so the server need not expect several threads.
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
