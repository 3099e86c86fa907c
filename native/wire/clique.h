// Which ranks share a node with a rank, from what a server says of the placement: PMI_process_mapping (RFC
// 13; see process_mapping.h), or flux.taskmap (RFC 34), which Flux offers where the former does not fit into
// a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::wire {

inline constexpr std::string_view kProcessMappingKey = "PMI_process_mapping";
inline constexpr std::string_view kFluxTaskmapKey = "flux.taskmap";

struct Clique {
  std::vector<std::uint32_t> ranks = {};  // in ascending order, with the rank that was asked for
  std::string error = {};                 // why there are none, for people; else empty
};

// The task map counts where the mapping is empty. Where both are (or the map is `[]`), nothing is known, and
// the clique is `rank` alone: no far rank is taken for a near one. A value that cannot be read, or leaves
// ranks out, is an error: a program would believe that its neighbours are far. Takes time and memory for the
// texts and for `size` ranks.
Clique find_clique(std::string_view process_mapping, std::string_view flux_taskmap, std::uint32_t rank,
                   std::uint32_t size);

}  // namespace wireup::wire
