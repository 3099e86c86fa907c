// PMI-2's node attributes: keys and values that the ranks of a node share, and the connections that wait for
// a key that no rank has put yet. A second put replaces the value.
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

  // `share` must live longer than this object.
  explicit NodeAttributes(SpaceShare& share) : share_(share) {}

  // Returns the connections that have waited for the key, in the order of their requests. Returns nothing if
  // the space is full.
  std::optional<std::vector<Waiter>> put(std::uint32_t node, std::string_view key, std::string_view value);
  // Returns null if the key is missing. The pointer is valid until the next put.
  const std::string* get(std::uint32_t node, std::string_view key) const;
  void wait(std::uint32_t node, std::string_view key, Waiter waiter);
  // Removes the connection from all waiters.
  void forget(ConnectionId connection);

 private:
  using Name = std::pair<std::uint32_t, std::string>;
  SpaceShare& share_;
  std::map<Name, std::string> values_;
  std::map<Name, std::vector<Waiter>> waiters_;
};

}  // namespace wireup::engine
