// Finds the ranks that share a node with a given rank. The sources are the server's values of
// PMI_process_mapping (RFC 13, see process_mapping.h) and of flux.taskmap (RFC 34). Flux offers flux.taskmap
// if the process mapping is too long for a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::wire {

inline constexpr std::string_view kProcessMappingKey = "PMI_process_mapping";
inline constexpr std::string_view kFluxTaskmapKey = "flux.taskmap";

struct Clique {
  std::vector<std::uint32_t> ranks = {};  // in ascending order, including the given rank
  std::string error = {};                 // for people: why `ranks` is empty
};

// Uses the task map only if the process mapping is empty. If both are empty, or the task map is `[]`, the
// placement is unknown and the clique is `rank` alone: it is safe to treat a near rank as far, but not a far
// one as near. A value that is malformed or omits ranks is an error, because the program would otherwise
// treat its neighbours as far. Time and memory are proportional to the length of the texts and to `size`.
Clique find_clique(std::string_view process_mapping, std::string_view flux_taskmap, std::uint32_t rank,
                   std::uint32_t size);

}  // namespace wireup::wire
