// Which ranks share a node with a rank, from what a server's key-value space says of the placement: the value of
// PMI_process_mapping (RFC 13; see process_mapping.h), or of flux.taskmap (RFC 34), which Flux offers where the
// former does not fit into a value.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace wireup::wire {

inline constexpr std::string_view kProcessMappingKey = "PMI_process_mapping";
inline constexpr std::string_view kFluxTaskmapKey = "flux.taskmap";

// In ascending order, `rank` among them. A value that is empty or cannot be read says nothing; where neither
// says anything of `rank` the answer is `rank` alone, so that nobody takes a far rank for a near one. Takes time
// and memory for `size` ranks, whatever the values say.
std::vector<std::uint32_t> clique_ranks(std::string_view process_mapping, std::string_view flux_taskmap,
                                        std::uint32_t rank, std::uint32_t size);

}  // namespace wireup::wire
