// The value of the key PMI_process_mapping: "(vector,(node,nodes,per_node),...)" (RFC 13).
//
// A block says: `nodes` nodes from number `node` on, each with `per_node` consecutive ranks. While ranks
// remain, the blocks begin again from the first (MPICH; one block (0,1,1) is all ranks on node 0).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::wire {

struct MappingBlock {
  std::uint32_t node = 0;
  std::uint32_t nodes = 1;
  std::uint32_t per_node = 1;
  bool operator==(const MappingBlock&) const = default;
};

std::string format_process_mapping(std::span<const MappingBlock> blocks);

// Blanks between the parts are accepted. Empty: not a mapping, or a block without ranks.
std::optional<std::vector<MappingBlock>> parse_process_mapping(std::string_view text);

// The node of each rank. Never more than `size` entries, whatever the blocks say; empty when there are no
// blocks.
std::vector<std::uint32_t> expand_process_mapping(std::span<const MappingBlock> blocks, std::uint32_t size);

// Blocks that expand to `nodes` again, few for the usual placements: block by block, round-robin, and
// repetitions of either.
std::vector<MappingBlock> compress_process_mapping(std::span<const std::uint32_t> nodes);

}  // namespace wireup::wire
