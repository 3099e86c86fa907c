// Helpers of the tests of ProcessGroup: options, a peer, and views of effects.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "engine/frame.h"
#include "engine/process_group.h"

namespace wireup::engine {

inline constexpr TimePoint kStart{};
inline constexpr std::string_view kInit = "cmd=init pmi_version=1 pmi_subversion=1\n";
using Ranks = std::vector<std::uint32_t>;

inline ProcessGroupOptions options(std::uint32_t size) {
  ProcessGroupOptions options;
  options.kvsname = "kvs";
  options.layout = Layout::single_node(size);
  options.auth.allowed_uids = {1000};
  for (std::uint32_t rank = 0; rank < size; ++rank) options.auth.pmi_ids.push_back(100 + rank);
  return options;
}

inline Peer peer(std::uint32_t uid) {
  return {.transport = Transport::unix_socket, .uid = uid, .pid = 7, .address = "unix"};
}

inline std::string sent(const Effects& effects, ConnectionId connection) {
  std::string text;
  for (const Effect& effect : effects.list()) {
    const auto* send = as<Send>(effect);
    if (send != nullptr && send->connection == connection) text += effects.bytes(*send);
  }
  return text;
}

inline std::vector<Event> events(const Effects& effects) {
  std::vector<Event> list;
  for (const Effect& effect : effects.list()) {
    if (const auto* event = as<Event>(effect)) list.push_back(*event);
  }
  return list;
}

inline bool closed(const Effects& effects, ConnectionId connection) {
  return std::ranges::any_of(effects.list(), [&](const Effect& effect) {
    const auto* close = as<Close>(effect);
    return close != nullptr && close->connection == connection;
  });
}

inline constexpr std::string_view kInit2 = "cmd=init pmi_version=2 pmi_subversion=0\n";

// `Kind` is SpawnQuery or NameQuery.
template <typename Kind = SpawnQuery>
std::vector<Kind> queries(const Effects& effects) {
  std::vector<Kind> list;
  for (const Effect& effect : effects.list()) {
    if (const auto* query = as<Kind>(effect)) list.push_back(*query);
  }
  return list;
}

inline std::string repeated(std::string_view line, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += line;
  return text;
}

}  // namespace wireup::engine
