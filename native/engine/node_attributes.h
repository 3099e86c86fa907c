// PMI-2's attributes of a node: what its ranks tell one another, and who waits for what nobody has put yet. A
// second put replaces the first.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/effects.h"
#include "engine/space.h"

namespace wireup::engine {

class NodeAttributes {
 public:
  struct Waiter {
    ConnectionId connection;
    std::string thrid;
  };

  // The share outlives it.
  explicit NodeAttributes(SpaceShare& share) : share_(share) {}

  // The connections that have waited for it, in the order of their requests; nothing where there is no room
  // for it.
  std::optional<std::vector<Waiter>> put(std::uint32_t node, std::string_view key, std::string_view value);
  // Null when there is none; valid until the next put.
  const std::string* get(std::uint32_t node, std::string_view key) const;
  void wait(std::uint32_t node, std::string_view key, Waiter waiter);
  // The connection waits for nothing any more.
  void forget(ConnectionId connection);

 private:
  using Name = std::pair<std::uint32_t, std::string>;
  SpaceShare& share_;
  std::map<Name, std::string> values_;
  std::map<Name, std::vector<Waiter>> waiters_;
};

}  // namespace wireup::engine
