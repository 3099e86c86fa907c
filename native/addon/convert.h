// Between JavaScript values and the structs of host/. Only conversion: what a value may be is checked in
// TypeScript; what has the wrong type here is a TypeError. Threads: the JavaScript thread's.
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

// A string in JavaScript is bytes here. Bytes that are no UTF-8 are lone surrogates there, U+DC80 to U+DCFF
// for 0x80 to 0xFF (as in Python's PEP 383), so that they come back as they were. What a user passes has
// none: TypeScript checks it.
std::string to_text(const Napi::Value& value);
// No Napi::String: as a property's value that would be converted once more, by UTF-8.
Napi::Value to_string(Napi::Env env, std::string_view text);
// Of a Uint8Array.
std::string to_bytes(const Napi::Value& value);
std::uint32_t to_u32(const Napi::Value& value);
runtime::ServerOptions to_server_options(const Napi::Object& object);
runtime::AgentOptions to_agent_options(const Napi::Object& object);
runtime::LaunchOptions to_launch_options(const Napi::Object& object);
runtime::GroupOptions to_group_options(const Napi::Object& object);
runtime::ListenOptions to_listen_options(const Napi::Object& object);
wire::UnixAddress to_unix_address(const Napi::Value& value);
runtime::ConnectOptions to_connect_options(const Napi::Object& object);
runtime::ClientOperation to_operation(const Napi::Value& name);
// Items from a flat list of strings: keys and values in turn where the operation has both.
std::vector<runtime::ClientItem> to_items(runtime::ClientOperation operation, const Napi::Value& words);
std::vector<std::string> to_texts(const Napi::Value& value);
engine::SpawnRequest to_spawn_request(const Napi::Object& object);
std::vector<std::int32_t> to_numbers(const Napi::Value& value);
runtime::Outbox::Types to_event_types(const Napi::Value& names);
engine::SpawnAnswer to_spawn_answer(const Napi::Object& object);
runtime::RankPlace to_rank_place(const Napi::Object& object);

Napi::Object to_object(Napi::Env env, const runtime::Notice& notice);
Napi::Object to_object(Napi::Env env, const os::Caller& caller);
Napi::Array to_array(Napi::Env env, const std::vector<std::string>& strings);
Napi::Array to_array(Napi::Env env, const std::vector<std::uint32_t>& numbers);
Napi::Array message_table(Napi::Env env);
Napi::Value parse_address(Napi::Env env, const std::string& text);
// Undefined for a range that is one.
Napi::Value parse_host_range(Napi::Env env, const std::string& text);

}  // namespace wireup::addon
