// The group of a PMI-1.2 barrier: group = ( "WORLD" / "NODE" / ranks ) [ ":" tag ], ranks = range *( ","
// range ), range = rank [ "-" rank ]. MPICH writes every rank by itself; ranges are ours to take as well.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace wireup::wire {

struct RankRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  auto operator<=>(const RankRange&) const = default;
};

struct BarrierGroup {
  enum class Kind : std::uint8_t { world, node, ranks } kind = Kind::world;
  std::vector<RankRange> ranks = {};  // ascending, apart from one another: as few as there can be
  std::int32_t tag = 0;
};

// A rank said twice is in it once. Empty: not a group.
std::optional<BarrierGroup> parse_barrier_group(std::string_view text);

}  // namespace wireup::wire
