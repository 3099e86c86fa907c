// The one table of PMI commands and replies. Codecs are generic over it, the addon exports it, and the
// documents are checked against it. A quirk of a named peer is a field of a row here, with its issue, not a
// branch in the code.
//
// Sources: RFC 13 = flux-framework rfc spec_13; pmi-1.1 = mpich src/pmi/maint/pmi-1.1.txt (names of version
// 2: pmi-2.0.txt beside it); gforker = mpich src/pm/util/pmiserv.c, commands older than both.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/limits.h"

namespace wireup::wire {

enum class AttributeId : std::uint8_t {
  appnum,
  arg,
  argcnt,
  authtype,
  debug,
  errcodes,
  execname,
  exitcode,
  idx,
  info,
  info_key,
  info_num,
  info_val,
  key,
  keylen_max,
  kvsname,
  kvsname_max,
  message,
  msg,
  nextidx,
  nprocs,
  pmi_subversion,
  pmi_version,
  pmiid,
  port,
  preput_key,
  preput_num,
  preput_val,
  rank,
  rc,
  service,
  size,
  spawner_jobid,
  spawnssofar,
  stdio,
  totspawns,
  val,
  vallen_max,
  value,
  versionok
};

// By AttributeId. A '#' stands for the number of an element.
inline constexpr auto kAttributeNames = std::to_array<std::string_view>(
    {"appnum",     "arg#",         "argcnt",        "authtype",       "debug",       "errcodes",
     "execname",   "exitcode",     "idx",           "info",           "info_key_#",  "info_num",
     "info_val_#", "key",          "keylen_max",    "kvsname",        "kvsname_max", "message",
     "msg",        "nextidx",      "nprocs",        "pmi_subversion", "pmi_version", "pmiid",
     "port",       "preput_key_#", "preput_num",    "preput_val_#",   "rank",        "rc",
     "service",    "size",         "spawner-jobid", "spawnssofar",    "stdio",       "totspawns",
     "val",        "vallen_max",   "value",         "versionok"});
inline constexpr std::size_t kAttributeCount = kAttributeNames.size();
static_assert(static_cast<std::size_t>(AttributeId::versionok) + 1 == kAttributeCount);

constexpr std::string_view name_of(AttributeId id) { return kAttributeNames[static_cast<std::size_t>(id)]; }

enum class ValueType : std::uint8_t {
  integer,  // decimal, 32 bits, may be signed
  word,     // up to the next blank
  words,    // a word; readers also take the words after it that are no attributes (RFC 13: "msg=" string)
  rest,     // everything up to the end of the line: it may hold blanks and '='
};

enum class Presence : std::uint8_t {
  required,
  optional,
  on_success,  // required in a reply whose rc is absent or 0
};

struct AttributeSpec {
  AttributeId id;
  ValueType type = ValueType::word;
  Presence presence = Presence::required;
  std::string_view default_value = {};
  std::size_t limit = 0;          // bytes with a terminator; 0: only the line's own
  std::string_view alias = {};    // another name that some peer uses
  std::string_view v2 = {};       // its name in PMI-2, where that differs
  std::string_view trailer = {};  // cut from the end when reading: what some servers say after the value
};

enum class Direction : std::uint8_t { to_server, to_client };

enum class Form : std::uint8_t {
  line,   // cmd=NAME ...
  block,  // mcmd=NAME, one attribute a line, endcmd
};

enum class Support : std::uint8_t {
  full,
  refused,  // understood, and answered with rc=-1 and a message
};

enum class MessageId : std::uint8_t {
  init,
  init_reply,
  initack,
  initack_reply,
  set,
  get_maxes,
  maxes,
  get_universe_size,
  universe_size,
  get_appnum,
  appnum,
  get_my_kvsname,
  my_kvsname,
  put,
  put_result,
  get,
  get_result,
  barrier_in,
  barrier_out,
  finalize,
  finalize_ack,
  abort,
  spawn,
  spawn_result,
  publish_name,
  publish_result,
  unpublish_name,
  unpublish_result,
  lookup_name,
  lookup_result,
  singinit,
  singinit_info,
  create_kvs,
  newkvs,
  destroy_kvs,
  kvs_destroyed,
  getbyidx,
  getbyidx_results,
  unknown_result
};

struct MessageSpec {
  MessageId id;
  std::string_view name;  // ours, over all versions
  std::string_view v1;    // on the wire after cmd= or mcmd=
  std::string_view v2;    // empty where PMI-2 has no such message
  Direction direction;
  MessageId reply;  // of a request; a message that has no reply, and every reply, names itself
  Support support;
  std::string_view source;
  std::span<const AttributeSpec> attributes;
  Form form = Form::line;
};

namespace table {

using A = AttributeId;
using M = MessageId;
using enum ValueType;
using enum Presence;
using enum Direction;
using enum Support;

inline constexpr AttributeSpec kRc{.id = A::rc, .type = integer, .presence = optional, .default_value = "0"};
inline constexpr AttributeSpec kMsg{.id = A::msg, .type = words, .presence = optional, .v2 = "errmsg"};
inline constexpr AttributeSpec kKvsname{
    .id = A::kvsname, .presence = optional, .limit = kMaxKvsname, .v2 = "jobid"};
inline constexpr AttributeSpec kKey{.id = A::key, .limit = kMaxKey};
inline constexpr AttributeSpec kService{.id = A::service, .type = word, .v2 = "name"};

inline constexpr AttributeSpec kVersions[] = {{.id = A::pmi_version, .type = integer},
                                              {.id = A::pmi_subversion, .type = integer}};
inline constexpr AttributeSpec kVersionsReply[] = {
    {.id = A::pmi_version, .type = integer, .presence = on_success},
    {.id = A::pmi_subversion, .type = integer, .presence = on_success},
    kRc,
    kMsg};
// MPICH sends atoi(PMI_ID); other clients may say whatever PMI_ID holds.
inline constexpr AttributeSpec kInitack[] = {{.id = A::pmiid, .limit = kMaxKey, .v2 = "pmirank"}};
inline constexpr AttributeSpec kInitackReply[] = {
    kRc,
    kMsg,
    {.id = A::rank, .type = integer, .presence = optional},
    {.id = A::size, .type = integer, .presence = optional},
    {.id = A::appnum, .type = integer, .presence = optional, .default_value = "-1"},
    {.id = A::spawner_jobid, .presence = optional},
    {.id = A::debug, .type = integer, .presence = optional, .v2 = "pmiverbose"}};
inline constexpr AttributeSpec kSet[] = {{.id = A::size, .type = integer, .presence = optional},
                                         {.id = A::rank, .type = integer, .presence = optional},
                                         {.id = A::debug, .type = integer, .presence = optional}};
inline constexpr AttributeSpec kMaxes[] = {{.id = A::kvsname_max, .type = integer, .presence = on_success},
                                           {.id = A::keylen_max, .type = integer, .presence = on_success},
                                           {.id = A::vallen_max, .type = integer, .presence = on_success},
                                           kRc,
                                           kMsg};
inline constexpr AttributeSpec kUniverseSize[] = {
    {.id = A::size, .type = integer, .presence = on_success}, kRc, kMsg};
inline constexpr AttributeSpec kAppnum[] = {
    {.id = A::appnum, .type = integer, .presence = on_success}, kRc, kMsg};
inline constexpr AttributeSpec kMyKvsname[] = {
    {.id = A::kvsname, .presence = on_success, .limit = kMaxKvsname, .v2 = "jobid"}, kRc, kMsg};
inline constexpr AttributeSpec kPut[] = {{.id = A::kvsname, .presence = optional, .limit = kMaxKvsname},
                                         kKey,
                                         {.id = A::value, .type = rest, .limit = kMaxValue}};
inline constexpr AttributeSpec kGet[] = {kKvsname, kKey};
// MPICH 4.1.1 to 4.2 say " found=TRUE" behind the value, where nothing may follow (flux-core issue 6072,
// fixed by mpich pull request 7056).
inline constexpr AttributeSpec kGetResult[] = {
    kRc, kMsg, {.id = A::value, .type = rest, .presence = on_success, .trailer = " found=TRUE"}};
inline constexpr AttributeSpec kResult[] = {kRc, kMsg};
inline constexpr AttributeSpec kNameResult[] = {kRc, kMsg, {.id = A::info, .presence = optional}};
// exit_code and error_msg: flux-core's older clients.
inline constexpr AttributeSpec kAbort[] = {
    {.id = A::exitcode, .type = integer, .presence = optional, .default_value = "1", .alias = "exit_code"},
    {.id = A::message, .type = rest, .presence = optional, .alias = "error_msg"}};
inline constexpr AttributeSpec kSpawn[] = {
    {.id = A::totspawns, .type = integer, .presence = optional, .default_value = "1", .v2 = "ncmds"},
    {.id = A::spawnssofar, .type = integer, .presence = optional},
    {.id = A::execname, .type = rest, .v2 = "subcmd"},
    {.id = A::nprocs, .type = integer, .v2 = "maxprocs"},
    {.id = A::argcnt, .type = integer, .v2 = "argc"},
    {.id = A::arg, .type = rest, .presence = optional, .v2 = "argv#"},
    {.id = A::preput_num, .type = integer, .presence = optional, .default_value = "0", .v2 = "preputcount"},
    {.id = A::preput_key, .presence = optional, .limit = kMaxKey, .v2 = "ppkey#"},
    {.id = A::preput_val, .type = rest, .presence = optional, .limit = kMaxValue, .v2 = "ppval#"},
    {.id = A::info_num, .type = integer, .presence = optional, .default_value = "0", .v2 = "infokeycount"},
    {.id = A::info_key, .type = rest, .presence = optional, .v2 = "infokey#"},
    {.id = A::info_val, .type = rest, .presence = optional, .v2 = "infoval#"}};
inline constexpr AttributeSpec kSpawnResult[] = {kRc, kMsg, {.id = A::errcodes, .presence = optional}};
inline constexpr AttributeSpec kPublish[] = {kService, {.id = A::port, .type = rest}};
inline constexpr AttributeSpec kNamed[] = {kService};
inline constexpr AttributeSpec kLookupResult[] = {
    kRc, kMsg, {.id = A::info, .presence = optional}, {.id = A::port, .type = rest, .presence = on_success}};
inline constexpr AttributeSpec kSinginit[] = {
    {.id = A::pmi_version, .type = integer},
    {.id = A::pmi_subversion, .type = integer},
    {.id = A::stdio, .presence = optional, .default_value = "yes"},
    {.id = A::authtype, .presence = optional, .default_value = "none"}};
inline constexpr AttributeSpec kSinginitInfo[] = {
    {.id = A::versionok, .presence = on_success},
    {.id = A::stdio, .presence = optional, .default_value = "yes"},
    {.id = A::kvsname, .presence = on_success, .limit = kMaxKvsname},
    kRc,
    kMsg};
inline constexpr AttributeSpec kDestroyKvs[] = {{.id = A::kvsname, .limit = kMaxKvsname}};
inline constexpr AttributeSpec kGetbyidx[] = {{.id = A::kvsname, .limit = kMaxKvsname},
                                              {.id = A::idx, .type = integer}};
inline constexpr AttributeSpec kGetbyidxResults[] = {
    kRc,
    kMsg,
    {.id = A::nextidx, .type = integer, .presence = on_success},
    {.id = A::key, .presence = on_success},
    {.id = A::val, .type = rest, .presence = on_success}};

inline constexpr std::span<const AttributeSpec> kNone{};
inline constexpr std::string_view kRfc = "RFC 13";
inline constexpr std::string_view kPmi11 = "pmi-1.1";
inline constexpr std::string_view kGforker = "gforker";

// By MessageId.
inline constexpr auto kRows = std::to_array<MessageSpec>({
    {M::init, "init", "init", "init", to_server, M::init_reply, full, kRfc, kVersions},
    {M::init_reply, "init-reply", "response_to_init", "response_to_init", to_client, M::init_reply, full,
     kRfc, kVersionsReply},
    {M::initack, "identify", "initack", "fullinit", to_server, M::initack_reply, full, kPmi11, kInitack},
    {M::initack_reply, "identify-reply", "initack", "fullinit-response", to_client, M::initack_reply, full,
     kPmi11, kInitackReply},
    {M::set, "identify-set", "set", "", to_client, M::set, full, kPmi11, kSet},
    {M::get_maxes, "maxes", "get_maxes", "", to_server, M::maxes, full, kRfc, kNone},
    {M::maxes, "maxes-reply", "maxes", "", to_client, M::maxes, full, kRfc, kMaxes},
    {M::get_universe_size, "universe-size", "get_universe_size", "", to_server, M::universe_size, full, kRfc,
     kNone},
    {M::universe_size, "universe-size-reply", "universe_size", "", to_client, M::universe_size, full, kRfc,
     kUniverseSize},
    {M::get_appnum, "appnum", "get_appnum", "", to_server, M::appnum, full, kRfc, kNone},
    {M::appnum, "appnum-reply", "appnum", "", to_client, M::appnum, full, kRfc, kAppnum},
    {M::get_my_kvsname, "kvsname", "get_my_kvsname", "job-getid", to_server, M::my_kvsname, full, kRfc,
     kNone},
    {M::my_kvsname, "kvsname-reply", "my_kvsname", "job-getid-response", to_client, M::my_kvsname, full, kRfc,
     kMyKvsname},
    {M::put, "put", "put", "kvs-put", to_server, M::put_result, full, kRfc, kPut},
    {M::put_result, "put-reply", "put_result", "kvs-put-response", to_client, M::put_result, full, kRfc,
     kResult},
    {M::get, "get", "get", "kvs-get", to_server, M::get_result, full, kRfc, kGet},
    {M::get_result, "get-reply", "get_result", "kvs-get-response", to_client, M::get_result, full, kRfc,
     kGetResult},
    {M::barrier_in, "barrier", "barrier_in", "kvs-fence", to_server, M::barrier_out, full, kRfc, kNone},
    {M::barrier_out, "barrier-reply", "barrier_out", "kvs-fence-response", to_client, M::barrier_out, full,
     kRfc, kResult},
    {M::finalize, "finalize", "finalize", "finalize", to_server, M::finalize_ack, full, kRfc, kNone},
    {M::finalize_ack, "finalize-reply", "finalize_ack", "finalize-response", to_client, M::finalize_ack, full,
     kRfc, kResult},
    // RFC 13 answers abort with an empty line, MPICH with nothing, and no client reads either.
    {M::abort, "abort", "abort", "abort", to_server, M::abort, full, kPmi11, kAbort},
    {M::spawn, "spawn", "spawn", "spawn", to_server, M::spawn_result, refused, kRfc, kSpawn, Form::block},
    {M::spawn_result, "spawn-reply", "spawn_result", "spawn-response", to_client, M::spawn_result, full, kRfc,
     kSpawnResult},
    {M::publish_name, "publish", "publish_name", "name-publish", to_server, M::publish_result, refused, kRfc,
     kPublish},
    {M::publish_result, "publish-reply", "publish_result", "name-publish-response", to_client,
     M::publish_result, full, kRfc, kNameResult},
    {M::unpublish_name, "unpublish", "unpublish_name", "name-unpublish", to_server, M::unpublish_result,
     refused, kRfc, kNamed},
    {M::unpublish_result, "unpublish-reply", "unpublish_result", "name-unpublish-response", to_client,
     M::unpublish_result, full, kRfc, kNameResult},
    {M::lookup_name, "lookup", "lookup_name", "name-lookup", to_server, M::lookup_result, refused, kRfc,
     kNamed},
    {M::lookup_result, "lookup-reply", "lookup_result", "name-lookup-response", to_client, M::lookup_result,
     full, kRfc, kLookupResult},
    {M::singinit, "singleton", "singinit", "", to_server, M::singinit_info, refused, kPmi11, kSinginit},
    {M::singinit_info, "singleton-reply", "singinit_info", "", to_client, M::singinit_info, full, kPmi11,
     kSinginitInfo},
    {M::create_kvs, "create-kvs", "create_kvs", "", to_server, M::newkvs, refused, kGforker, kNone},
    {M::newkvs, "create-kvs-reply", "newkvs", "", to_client, M::newkvs, full, kGforker, kMyKvsname},
    {M::destroy_kvs, "destroy-kvs", "destroy_kvs", "", to_server, M::kvs_destroyed, refused, kGforker,
     kDestroyKvs},
    {M::kvs_destroyed, "destroy-kvs-reply", "kvs_destroyed", "", to_client, M::kvs_destroyed, full, kGforker,
     kResult},
    {M::getbyidx, "get-by-index", "getbyidx", "", to_server, M::getbyidx_results, refused, kGforker,
     kGetbyidx},
    {M::getbyidx_results, "get-by-index-reply", "getbyidx_results", "", to_client, M::getbyidx_results, full,
     kGforker, kGetbyidxResults},
    // No document names a reply to what is no command at all; a client that waits for one must get something.
    {M::unknown_result, "unknown-reply", "unknown_result", "", to_client, M::unknown_result, full, "wireup",
     kResult},
});
}  // namespace table

// Every message, in the order of MessageId.
inline constexpr std::span<const MessageSpec> kMessages{table::kRows};
static_assert(static_cast<std::size_t>(MessageId::unknown_result) + 1 == kMessages.size());

constexpr const MessageSpec& spec_of(MessageId id) { return kMessages[static_cast<std::size_t>(id)]; }

// By its name on the wire in version 1, exactly; null when there is none.
const MessageSpec* find_v1(std::string_view name, Direction direction, Form form);

std::string_view to_string(ValueType type);
std::string_view to_string(Presence presence);
std::string_view to_string(Direction direction);
std::string_view to_string(Form form);
std::string_view to_string(Support support);

}  // namespace wireup::wire
