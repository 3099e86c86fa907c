// The key-value space of a job. A put is seen by all at once; a second put of a key replaces the first, as in
// Flux (RFC 13 forbids it to clients, but no server refuses it, and programs that start PMI twice do it).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/space.h"

namespace wireup::engine {

// Keys that begin with this are the server's own.
inline constexpr std::string_view kReservedPrefix = "PMI_";

class Kvs {
 public:
  // The share outlives it.
  explicit Kvs(SpaceShare& share) : share_(share) {}

  // False: there is no room for it, and nothing has changed.
  bool put(std::string_view key, std::string_view value);
  // Of the server's own.
  void preput(std::string_view key, std::string_view value);
  // Null when there is none; valid until the next put.
  const std::string* get(std::string_view key) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  SpaceShare& share_;
  std::unordered_map<std::string, std::string, Hash, std::equal_to<>> entries_;
};

}  // namespace wireup::engine
