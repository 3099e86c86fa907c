// The table of all PMI commands and replies. The codecs are generic over it, the addon exports it, and a test
// compares the documents with it. A quirk of a certain client or server is a field of a row, with a comment
// that names it, and not a branch in the code.
//
// A row describes one message in all versions. Its names in PMI-1 and PMI-2 may differ, and some attributes
// exist in one version only.
//
// Sources: "RFC 13" is flux-framework's rfc spec_13. "pmi-1.1" is mpich's src/pmi/maint/pmi-1.1.txt, with
// pmi-2.0.txt beside it for version 2. "gforker" is mpich's src/pm/util/pmiserv.c, with commands that are
// older than both documents. A comment at an attribute says how Slurm's library (contribs/pmi2) differs.
#pragma once

#include <algorithm>
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
  debugged,
  errcodes,
  execname,
  exitcode,
  found,
  group,
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
  pmijobid,
  pmiverbose,
  port,
  preput_key,
  preput_num,
  preput_val,
  rank,
  rc,
  server_subversion,
  server_version,
  service,
  size,
  spawner_jobid,
  spawnssofar,
  srcid,
  stdio,
  tag,
  thrid,
  threaded,
  totspawns,
  val,
  vallen_max,
  value,
  versionok,
  wait
};

struct AttributeName {
  AttributeId id;
  std::string_view name;
};

// In the order of AttributeId. In the name of an element of a list, '#' stands for the element's number.
inline constexpr auto kAttributeNames = std::to_array<AttributeName>({
    {AttributeId::appnum, "appnum"},
    {AttributeId::arg, "arg#"},
    {AttributeId::argcnt, "argcnt"},
    {AttributeId::authtype, "authtype"},
    {AttributeId::debug, "debug"},
    {AttributeId::debugged, "debugged"},
    {AttributeId::errcodes, "errcodes"},
    {AttributeId::execname, "execname"},
    {AttributeId::exitcode, "exitcode"},
    {AttributeId::found, "found"},
    {AttributeId::group, "group"},
    {AttributeId::idx, "idx"},
    {AttributeId::info, "info"},
    {AttributeId::info_key, "info_key_#"},
    {AttributeId::info_num, "info_num"},
    {AttributeId::info_val, "info_val_#"},
    {AttributeId::key, "key"},
    {AttributeId::keylen_max, "keylen_max"},
    {AttributeId::kvsname, "kvsname"},
    {AttributeId::kvsname_max, "kvsname_max"},
    {AttributeId::message, "message"},
    {AttributeId::msg, "msg"},
    {AttributeId::nextidx, "nextidx"},
    {AttributeId::nprocs, "nprocs"},
    {AttributeId::pmi_subversion, "pmi_subversion"},
    {AttributeId::pmi_version, "pmi_version"},
    {AttributeId::pmiid, "pmiid"},
    {AttributeId::pmijobid, "pmijobid"},
    {AttributeId::pmiverbose, "pmiverbose"},
    {AttributeId::port, "port"},
    {AttributeId::preput_key, "preput_key_#"},
    {AttributeId::preput_num, "preput_num"},
    {AttributeId::preput_val, "preput_val_#"},
    {AttributeId::rank, "rank"},
    {AttributeId::rc, "rc"},
    {AttributeId::server_subversion, "pmi-subversion"},
    {AttributeId::server_version, "pmi-version"},
    {AttributeId::service, "service"},
    {AttributeId::size, "size"},
    {AttributeId::spawner_jobid, "spawner-jobid"},
    {AttributeId::spawnssofar, "spawnssofar"},
    {AttributeId::srcid, "srcid"},
    {AttributeId::stdio, "stdio"},
    {AttributeId::tag, "tag"},
    {AttributeId::thrid, "thrid"},
    {AttributeId::threaded, "threaded"},
    {AttributeId::totspawns, "totspawns"},
    {AttributeId::val, "val"},
    {AttributeId::vallen_max, "vallen_max"},
    {AttributeId::value, "value"},
    {AttributeId::versionok, "versionok"},
    {AttributeId::wait, "wait"},
});
inline constexpr std::size_t kAttributeCount = kAttributeNames.size();
static_assert(static_cast<std::size_t>(AttributeId::wait) + 1 == kAttributeCount);
static_assert(std::ranges::is_sorted(kAttributeNames, {}, &AttributeName::id));

constexpr std::string_view name_of(AttributeId id) {
  return kAttributeNames[static_cast<std::size_t>(id)].name;
}

// How far a value of PMI-1 extends. In PMI-2 every value ends at its semicolon.
enum class ValueType : std::uint8_t {
  integer,       // decimal, 32 bits, may be signed
  boolean,       // TRUE or FALSE
  word,          // up to the next blank
  words,         // like word; in a reply also the following words without '=' (RFC 13: "msg=" string)
  rest_of_line,  // up to the end of the line, including blanks and '='
};

enum class Presence : std::uint8_t {
  required,
  optional,
  on_success,  // required in a reply, unless its rc is not 0 or found is FALSE
};

enum class Version : std::uint8_t { v1, v2 };

// The versions of PMI that have an attribute.
enum class Versions : std::uint8_t { both, v1_only, v2_only };

struct AttributeSpec {
  AttributeId id;
  ValueType type = ValueType::word;
  Presence presence = Presence::required;
  std::string_view default_value = {};
  std::size_t limit = 0;           // in bytes with a terminator; 0: only the limit of the line
  std::string_view alias = {};     // another name that some clients or servers use
  std::string_view v2 = {};        // the name in PMI-2; empty: the same
  std::string_view trailer = {};   // text that some servers append to the value; the parser removes it
  std::string_view v2_alias = {};  // another name in PMI-2
  Versions versions = Versions::both;

  constexpr bool is_in(Version version) const {
    return versions == Versions::both || (versions == Versions::v2_only) == (version == Version::v2);
  }
  constexpr std::string_view name(Version version) const {
    return version == Version::v2 && !v2.empty() ? v2 : name_of(id);
  }
};

enum class Direction : std::uint8_t { to_server, to_client };

enum class Form : std::uint8_t {
  line,   // cmd=NAME ...
  block,  // mcmd=NAME, one attribute on each line, endcmd
};

enum class Support : std::uint8_t {
  full,
  refused,  // the server replies with rc=-1 and a message
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
  put_node_attribute,
  put_node_attribute_result,
  get_node_attribute,
  get_node_attribute_result,
  get_job_attribute,
  get_job_attribute_result,
  connect_job,
  connect_job_result,
  disconnect_job,
  disconnect_job_result,
  unknown_result
};

struct MessageSpec {
  MessageId id;
  std::string_view name;  // wireup's own name, for all versions
  std::string_view v1;    // the name after cmd= or mcmd=; empty: not in PMI-1
  std::string_view v2;    // the name in PMI-2; empty: not in PMI-2
  Direction direction;
  MessageId reply;  // the reply to a request. A reply, and a request without one, names itself
  Support support;
  std::string_view source;
  std::span<const AttributeSpec> attributes;
  Form form = Form::line;

  constexpr std::string_view wire_name(Version version) const { return version == Version::v2 ? v2 : v1; }
};

namespace table {

using A = AttributeId;
using M = MessageId;
using enum ValueType;
using enum Presence;
using enum Direction;
using enum Support;
using enum Versions;

inline constexpr AttributeSpec kRc{.id = A::rc, .type = integer, .presence = optional, .default_value = "0"};
inline constexpr AttributeSpec kMsg{.id = A::msg, .type = words, .presence = optional, .v2 = "errmsg"};
inline constexpr AttributeSpec kKvsname{
    .id = A::kvsname, .presence = optional, .limit = kMaxKvsname, .v2 = "jobid"};
inline constexpr AttributeSpec kKey{.id = A::key, .limit = kMaxKey};
// No document limits services and ports. Clients use buffers of the size of a value.
inline constexpr AttributeSpec kService{.id = A::service, .type = word, .limit = kMaxValue, .v2 = "name"};

inline constexpr AttributeSpec kVersions[] = {{.id = A::pmi_version, .type = integer},
                                              {.id = A::pmi_subversion, .type = integer}};
inline constexpr AttributeSpec kVersionsReply[] = {
    {.id = A::pmi_version, .type = integer, .presence = on_success},
    {.id = A::pmi_subversion, .type = integer, .presence = on_success},
    kRc,
    kMsg};
// MPICH sends atoi(PMI_ID), other clients send PMI_ID unchanged. Slurm's library sends PMI_ID as srcid, if it
// is set. Slurm's server refuses a fullinit without pmijobid (PMI_JOBID) or threaded; wireup's server ignores
// both.
inline constexpr AttributeSpec kInitack[] = {
    {.id = A::pmiid, .limit = kMaxKey, .v2 = "pmirank", .v2_alias = "srcid"},
    {.id = A::pmijobid, .presence = optional, .versions = Versions::v2_only},
    {.id = A::threaded, .presence = optional, .versions = Versions::v2_only}};
inline constexpr AttributeSpec kInitackReply[] = {
    kRc,
    kMsg,
    {.id = A::rank, .type = integer, .presence = optional},
    {.id = A::size, .type = integer, .presence = optional},
    {.id = A::appnum, .type = integer, .presence = optional, .default_value = "-1"},
    {.id = A::spawner_jobid, .presence = optional},
    {.id = A::debug, .type = integer, .presence = optional, .versions = v1_only},
    // Slurm's library needs both version numbers. It accepts only TRUE and FALSE for debugged and pmiverbose.
    // MPICH sends a number.
    {.id = A::server_version, .type = integer, .presence = optional, .versions = v2_only},
    {.id = A::server_subversion, .type = integer, .presence = optional, .versions = v2_only},
    {.id = A::debugged, .presence = optional, .versions = v2_only},
    {.id = A::pmiverbose, .presence = optional, .versions = v2_only}};
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
inline constexpr AttributeSpec kPut[] = {
    kKvsname, kKey, {.id = A::value, .type = rest_of_line, .limit = kMaxValue}};
// srcid: a hint which rank has put the key.
inline constexpr AttributeSpec kGet[] = {
    kKvsname, kKey, {.id = A::srcid, .type = integer, .presence = optional, .versions = v2_only}};
inline constexpr AttributeSpec kFound{
    .id = A::found, .type = boolean, .presence = optional, .default_value = "TRUE", .versions = v2_only};
// The servers of MPICH 4.1.1 to 4.2 append " found=TRUE" to the value, although nothing may follow it
// (flux-core issue 6072, fixed by mpich pull request 7056).
inline constexpr AttributeSpec kGetResult[] = {
    kRc,
    kMsg,
    kFound,
    {.id = A::value, .type = rest_of_line, .presence = on_success, .trailer = " found=TRUE"}};
inline constexpr AttributeSpec kResult[] = {kRc, kMsg};
inline constexpr AttributeSpec kAttributeResult[] = {
    kRc, kMsg, kFound, {.id = A::value, .type = rest_of_line, .presence = on_success}};
// group: the grammar is in barrier_group.h. The tag in it distinguishes barriers of the same group.
inline constexpr AttributeSpec kBarrier[] = {{.id = A::group, .presence = optional, .versions = v1_only}};
inline constexpr AttributeSpec kBarrierResult[] = {
    kRc,
    kMsg,
    {.id = A::tag, .type = integer, .presence = optional, .default_value = "0", .versions = v1_only}};
inline constexpr AttributeSpec kPutAttribute[] = {kKey,
                                                  {.id = A::value, .type = rest_of_line, .limit = kMaxValue}};
inline constexpr AttributeSpec kGetNodeAttribute[] = {
    kKey, {.id = A::wait, .type = boolean, .presence = optional, .default_value = "FALSE"}};
inline constexpr AttributeSpec kGetJobAttribute[] = {kKvsname, kKey};
inline constexpr AttributeSpec kConnect[] = {{.id = A::kvsname, .limit = kMaxKvsname, .v2 = "jobid"}};
inline constexpr AttributeSpec kNameResult[] = {
    kRc, kMsg, {.id = A::info, .presence = optional, .versions = v1_only}};
// exit_code and error_msg: older clients of flux-core send these.
inline constexpr AttributeSpec kAbort[] = {
    {.id = A::exitcode, .type = integer, .presence = optional, .default_value = "1", .alias = "exit_code"},
    // Slurm's library sends isworld and msg.
    {.id = A::message, .type = rest_of_line, .presence = optional, .alias = "error_msg", .v2_alias = "msg"}};
inline constexpr AttributeSpec kSpawn[] = {
    {.id = A::totspawns, .type = integer, .presence = optional, .default_value = "1", .v2 = "ncmds"},
    {.id = A::spawnssofar, .type = integer, .presence = optional, .versions = v1_only},
    {.id = A::execname, .type = rest_of_line, .v2 = "subcmd"},
    {.id = A::nprocs, .type = integer, .v2 = "maxprocs"},
    {.id = A::argcnt, .type = integer, .presence = optional, .default_value = "0", .v2 = "argc"},
    {.id = A::arg, .type = rest_of_line, .presence = optional, .v2 = "argv#"},
    {.id = A::preput_num, .type = integer, .presence = optional, .default_value = "0", .v2 = "preputcount"},
    {.id = A::preput_key, .presence = optional, .limit = kMaxKey, .v2 = "ppkey#"},
    {.id = A::preput_val, .type = rest_of_line, .presence = optional, .limit = kMaxValue, .v2 = "ppval#"},
    {.id = A::info_num, .type = integer, .presence = optional, .default_value = "0", .v2 = "infokeycount"},
    {.id = A::info_key, .type = rest_of_line, .presence = optional, .v2 = "infokey#"},
    {.id = A::info_val, .type = rest_of_line, .presence = optional, .v2 = "infoval#"}};
// errcodes: one for each process, separated by commas.
inline constexpr AttributeSpec kSpawnResult[] = {
    kRc,
    kMsg,
    {.id = A::kvsname, .presence = optional, .v2 = "jobid", .versions = v2_only},
    {.id = A::errcodes, .presence = optional}};
inline constexpr AttributeSpec kPublish[] = {kService,
                                             {.id = A::port, .type = rest_of_line, .limit = kMaxValue}};
inline constexpr AttributeSpec kNamed[] = {kService};
inline constexpr AttributeSpec kLookupResult[] = {
    kRc,
    kMsg,
    {.id = A::info, .presence = optional, .versions = v1_only},
    // Slurm's library and server use value.
    {.id = A::port, .type = rest_of_line, .presence = on_success, .v2_alias = "value"}};
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
    {.id = A::val, .type = rest_of_line, .presence = on_success}};

inline constexpr std::span<const AttributeSpec> kNone{};
inline constexpr std::string_view kRfc = "RFC 13";
inline constexpr std::string_view kPmi11 = "pmi-1.1";
inline constexpr std::string_view kPmi20 = "pmi-2.0";
inline constexpr std::string_view kGforker = "gforker";

// In the order of MessageId.
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
    {M::barrier_in, "barrier", "barrier_in", "kvs-fence", to_server, M::barrier_out, full, kRfc, kBarrier},
    {M::barrier_out, "barrier-reply", "barrier_out", "kvs-fence-response", to_client, M::barrier_out, full,
     kRfc, kBarrierResult},
    {M::finalize, "finalize", "finalize", "finalize", to_server, M::finalize_ack, full, kRfc, kNone},
    {M::finalize_ack, "finalize-reply", "finalize_ack", "finalize-response", to_client, M::finalize_ack, full,
     kRfc, kResult},
    // RFC 13 says that the server replies to abort with an empty line. MPICH's server sends no reply, and no
    // client reads one.
    {M::abort, "abort", "abort", "abort", to_server, M::abort, full, kPmi11, kAbort},
    {M::spawn, "spawn", "spawn", "spawn", to_server, M::spawn_result, full, kRfc, kSpawn, Form::block},
    {M::spawn_result, "spawn-reply", "spawn_result", "spawn-response", to_client, M::spawn_result, full, kRfc,
     kSpawnResult},
    {M::publish_name, "publish", "publish_name", "name-publish", to_server, M::publish_result, full, kRfc,
     kPublish},
    {M::publish_result, "publish-reply", "publish_result", "name-publish-response", to_client,
     M::publish_result, full, kRfc, kNameResult},
    {M::unpublish_name, "unpublish", "unpublish_name", "name-unpublish", to_server, M::unpublish_result, full,
     kRfc, kNamed},
    {M::unpublish_result, "unpublish-reply", "unpublish_result", "name-unpublish-response", to_client,
     M::unpublish_result, full, kRfc, kNameResult},
    {M::lookup_name, "lookup", "lookup_name", "name-lookup", to_server, M::lookup_result, full, kRfc, kNamed},
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
    {M::put_node_attribute, "put-node-attribute", "", "info-putnodeattr", to_server,
     M::put_node_attribute_result, full, kPmi20, kPutAttribute},
    {M::put_node_attribute_result, "put-node-attribute-reply", "", "info-putnodeattr-response", to_client,
     M::put_node_attribute_result, full, kPmi20, kResult},
    {M::get_node_attribute, "get-node-attribute", "", "info-getnodeattr", to_server,
     M::get_node_attribute_result, full, kPmi20, kGetNodeAttribute},
    {M::get_node_attribute_result, "get-node-attribute-reply", "", "info-getnodeattr-response", to_client,
     M::get_node_attribute_result, full, kPmi20, kAttributeResult},
    {M::get_job_attribute, "get-job-attribute", "", "info-getjobattr", to_server, M::get_job_attribute_result,
     full, kPmi20, kGetJobAttribute},
    {M::get_job_attribute_result, "get-job-attribute-reply", "", "info-getjobattr-response", to_client,
     M::get_job_attribute_result, full, kPmi20, kAttributeResult},
    {M::connect_job, "connect-job", "", "job-connect", to_server, M::connect_job_result, refused, kPmi20,
     kConnect},
    {M::connect_job_result, "connect-job-reply", "", "job-connect-response", to_client, M::connect_job_result,
     full, kPmi20, kResult},
    {M::disconnect_job, "disconnect-job", "", "job-disconnect", to_server, M::disconnect_job_result, refused,
     kPmi20, kConnect},
    {M::disconnect_job_result, "disconnect-job-reply", "", "job-disconnect-response", to_client,
     M::disconnect_job_result, full, kPmi20, kResult},
    // The reply to an unknown command. No document defines one, but a client that waits for a reply must get
    // one.
    {M::unknown_result, "unknown-reply", "unknown_result", "unknown-response", to_client, M::unknown_result,
     full, "wireup", kResult},
});
}  // namespace table

// Every message, in the order of MessageId.
inline constexpr std::span<const MessageSpec> kMessages{table::kRows};
static_assert(static_cast<std::size_t>(MessageId::unknown_result) + 1 == kMessages.size());

// The largest number of attributes of a message.
inline constexpr std::size_t kMaxAttributes = std::ranges::max(kMessages, {}, [](const MessageSpec& spec) {
                                                return spec.attributes.size();
                                              }).attributes.size();

constexpr const MessageSpec& spec_of(MessageId id) { return kMessages[static_cast<std::size_t>(id)]; }

// Every message of PMI-2 may have this attribute. The reply repeats the value of the request.
inline constexpr AttributeSpec kThrid{.id = AttributeId::thrid,
                                      .presence = Presence::optional,
                                      .limit = kMaxKey,
                                      .versions = Versions::v2_only};

// Finds a message by its exact name on the wire. Returns null if there is none. In PMI-2 a block is an
// ordinary frame, so find_v2() needs no form.
const MessageSpec* find_v1(std::string_view name, Direction direction, Form form);
const MessageSpec* find_v2(std::string_view name, Direction direction);

// Finds an attribute of a message by its name on the wire. If the table's name has a '#', `number` is set to
// the number in its place. Returns null if that version has no such attribute.
const AttributeSpec* find_attribute(const MessageSpec& spec, std::string_view name, Version version,
                                    std::uint32_t* number = nullptr);

std::string_view to_string(ValueType type);
std::string_view to_string(Presence presence);
std::string_view to_string(Direction direction);
std::string_view to_string(Form form);
std::string_view to_string(Support support);

}  // namespace wireup::wire
