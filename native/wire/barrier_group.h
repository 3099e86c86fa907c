// The `group=` attribute of a PMI-1.2 barrier.
//
//   group = ( "WORLD" / "NODE" / ranks ) [ ":" tag ]
//   ranks = range *( "," range )
//   range = rank [ "-" rank ]
//
// The tag distinguishes barriers of the same ranks; 0 by default. MPICH lists each rank. Ranges are an
// extension of wireup.
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
  std::vector<RankRange> ranks = {};  // ascending; ranges that overlap or adjoin are merged
  std::int32_t tag = 0;
};

// Returns nothing if `text` is not a group. A rank may be listed twice.
std::optional<BarrierGroup> parse_barrier_group(std::string_view text);

}  // namespace wireup::wire
