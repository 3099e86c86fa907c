// The key-value space of a process group. All ranks see a put at once. A second put of a key replaces the
// value, as Flux does. RFC 13 forbids clients to put a key twice, but no server refuses it, and programs that
// initialize PMI twice do it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/space.h"

namespace wireup::engine {

// Keys with this prefix belong to the server. It refuses puts of them.
inline constexpr std::string_view kReservedPrefix = "PMI_";

class Kvs {
 public:
  // `share` must live longer than this object.
  explicit Kvs(SpaceShare& share) : share_(share) {}

  // Returns false if the space is full. Nothing has changed then.
  bool put(std::string_view key, std::string_view value);
  // For the server's own keys; succeeds also if the space is full.
  void preput(std::string_view key, std::string_view value);
  // Returns null if the key is missing. The pointer is valid until the next put.
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
