// The key-value space of a process group. All ranks see a put at once. A second put of a key replaces the
// value, as Flux does. RFC 13 forbids clients to put a key twice, but no server refuses it, and programs that
// initialize PMI twice do it.
//
// If the process group has ranks on other hosts, each host has a Kvs. A put is then recorded until the next
// barrier takes it to the other hosts.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/space.h"

namespace wireup::engine {

// Keys with this prefix belong to the server. It refuses puts of them.
inline constexpr std::string_view kReservedPrefix = "PMI_";

// Why `text`, in the form of wire/key_values.h, is not a list of entries that ranks may have put; empty: it
// is one.
std::string check_entries(std::string_view text);

class Kvs {
 public:
  // `share` must live longer than this object. `records`: take_new() will be called.
  Kvs(SpaceShare& share, bool records) : share_(share), records_(records) {}

  // Returns false if the space is full. Nothing has changed then.
  bool put(std::string_view key, std::string_view value);
  // For the server's own keys and for those of other hosts. Succeeds also if the space is full, and is not
  // recorded.
  void store(std::string_view key, std::string_view value);
  // The entries that put() has written since the last call, each once, in the form of wire/key_values.h.
  std::string take_new();
  // Returns null if the key is missing. The pointer is valid until the next put.
  const std::string* get(std::string_view key) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Entries = std::unordered_map<std::string, std::string, Hash, std::equal_to<>>;
  SpaceShare& share_;
  Entries entries_;
  bool records_;
  // Entries are never removed, and keep their addresses.
  std::unordered_set<const Entries::value_type*> new_;
};

}  // namespace wireup::engine
