// The key-value space of a process group. All ranks see a put at once. A second put of a key replaces the
// value, as Flux does. RFC 13 forbids clients to put a key twice, but no server refuses it, and programs that
// initialize PMI twice do it.
//
// If the process group has ranks on other hosts, each host has a Kvs. A put is then recorded until the next
// barrier takes it to the other hosts. What a barrier brings from there is kept as it comes until a rank asks
// for a key: to store an entry takes a microsecond, and all ranks would wait for it. Many programs ask for
// few of the keys of other hosts, or for none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
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

// Bytes that may wait for a rank that asks for a key when more come. The last text may have any length: it is
// one barrier's.
inline constexpr std::size_t kMaxUnread = 1 << 20;

// Why `text`, in the form of wire/key_values.h, is not a list of entries that ranks may have put; empty: it
// is one.
std::string check_entries(std::string_view text);

class Kvs {
 public:
  // `share` must live longer than this object. `records`: take_new() will be called.
  Kvs(SpaceShare& share, bool records) : share_(share), records_(records) {}

  // Returns false if the space is full. Nothing has changed then.
  bool put(std::string_view key, std::string_view value);
  // For the server's own keys and those of other hosts: well-formed entries in the form of
  // wire/key_values.h. Succeeds also if the space is full, and is not recorded.
  void store(std::string text);
  // The entries that put() has written since the last call, each once, in the form of wire/key_values.h.
  std::string take_new();
  // Returns null if the key is missing. The pointer is valid until the next put.
  const std::string* get(std::string_view key) const;
  std::size_t size() const;

 private:
  struct Value {
    std::string text;
    std::uint64_t since;  // received_ at its put, or the number of the text that brought it
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Entries = std::unordered_map<std::string, Value, Hash, std::equal_to<>>;

  // Stores what is unread.
  void read() const;
  void read(std::string_view text, std::uint64_t number) const;
  bool reserve(Entries::const_iterator entry, std::string_view key, std::string_view value);

  SpaceShare& share_;
  // Mutable, because callers cannot tell whether an entry is stored or unread.
  mutable Entries entries_;
  mutable std::deque<std::string> unread_;  // texts of store(); the last one has the number received_
  mutable std::size_t unread_bytes_ = 0;
  std::uint64_t received_ = 0;
  bool records_;
  // Entries are never removed, and keep their addresses.
  std::unordered_set<const Entries::value_type*> new_;
};

}  // namespace wireup::engine
