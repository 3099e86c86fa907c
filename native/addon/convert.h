// Converts between JavaScript values and the structs of native/runtime. TypeScript checks the values; here a
// value of a wrong type is a TypeError.
//
// Threads: the JavaScript thread's.
#pragma once

#include <napi.h>

#include <string>
#include <string_view>
#include <vector>

#include "os/caller.h"
#include "runtime/notice.h"
#include "runtime/rank_environment.h"
#include "runtime/runtime.h"

namespace wireup::addon {

// The bytes of a JavaScript string in UTF-8. The surrogates U+DC80 to U+DCFF stand for the bytes 0x80 to 0xFF
// that are not valid UTF-8 (as in Python's PEP 383), so that any bytes survive the way there and back.
// TypeScript refuses surrogates in strings of the user.
std::string to_text(const Napi::Value& value);
// The reverse of to_text(). Not a Napi::String: Napi::Object::Set() would convert that once more.
Napi::Value to_string(Napi::Env env, std::string_view text);
// The bytes of a Uint8Array.
std::string to_bytes(const Napi::Value& value);
std::uint32_t to_u32(const Napi::Value& value);
runtime::ServerOptions to_server_options(const Napi::Object& object);
runtime::AgentOptions to_agent_options(const Napi::Object& object);
runtime::LaunchOptions to_launch_options(const Napi::Object& object);
runtime::GroupOptions to_group_options(const Napi::Object& object);
wire::agent::PmiIdKind to_pmi_id_kind(const Napi::Value& value);
std::vector<runtime::PrivateParent> to_private_parents(const Napi::Value& parents);
runtime::ListenOptions to_listen_options(const Napi::Object& object);
wire::UnixAddress to_unix_address(const Napi::Value& value);
runtime::ConnectOptions to_connect_options(const Napi::Object& object);
runtime::ClientOperation to_operation(const Napi::Value& name);
// Makes items of a flat list of strings: keys and values in turn if the operation has both.
std::vector<runtime::ClientItem> to_items(runtime::ClientOperation operation, const Napi::Value& words);
std::vector<std::string> to_texts(const Napi::Value& value);
engine::SpawnRequest to_spawn_request(const Napi::Object& object);
std::vector<std::int32_t> to_numbers(const Napi::Value& value);
runtime::Outbox::Types to_event_types(const Napi::Value& names);
engine::SpawnAnswer to_spawn_answer(const Napi::Object& object);
runtime::RankPlace to_rank_place(const Napi::Object& object);

// Not for notices that have a row (addon/notice_batch.h).
Napi::Object to_object(Napi::Env env, const runtime::Notice& notice);
Napi::Object to_object(Napi::Env env, const engine::Peer& peer);
// The names of engine::EventType and engine::RankState, in the order of their enumerators.
Napi::Object enumerators(Napi::Env env);
Napi::Object to_object(Napi::Env env, const os::Caller& caller);
Napi::Array to_array(Napi::Env env, const std::vector<std::string>& strings);
Napi::Array to_array(Napi::Env env, const std::vector<std::uint32_t>& numbers);
Napi::Array message_table(Napi::Env env);
Napi::Value parse_address(Napi::Env env, const std::string& text);
// Undefined for a valid range; otherwise what is wrong with it.
Napi::Value parse_host_range(Napi::Env env, const std::string& text);

}  // namespace wireup::addon
