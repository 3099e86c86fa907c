// The value of the key PMI_process_mapping: on which node each rank is.
//
//   mapping = "(vector" 1*( "," ( block / group ) ) ")"
//   group   = "[" block *( "," block ) "]x" count
//   block   = "(" node "," nodes "," per-node ")" / node
//
// A block is `nodes` nodes from number `node` on, each with `per-node` consecutive ranks; a number alone is
// one rank on that node. A group is `count` repetitions of its blocks. Groups and numbers alone are of
// MPICH 4.1 and newer, which documents them at MPL_rankmap_str_to_array(); RFC 13 and MPICH 4.0 have blocks
// of three numbers.
//
// While ranks remain, the mapping goes on from the last group, else from the first block that begins at node
// 0, else from its start: as MPICH reads it. Others (Flux) do not go on at all.
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

  // Each number is at least 1, but for the node's, and the last node has a number.
  bool valid() const;
};

struct MappingGroup {
  std::vector<MappingBlock> blocks;
  std::uint32_t repetitions = 1;
};

// Appends the node of each rank of these groups until there are `size`.
void expand(std::span<const MappingGroup> groups, std::uint32_t size, std::vector<std::uint32_t>& nodes);

// The node of each of `size` ranks. Blanks between the parts are accepted. Empty: not a mapping, or a block
// or a group without ranks. Takes time and memory for the text and for `size` ranks, whatever it says.
std::optional<std::vector<std::uint32_t>> read_process_mapping(std::string_view text, std::uint32_t size);

// What every reader takes for `nodes`, in fewer than `limit` bytes: blocks of three numbers that say all
// ranks. Where that is too long, and the placement repeats from a block that begins at node 0, it is said
// once. Empty: both are too long.
std::string write_process_mapping(std::span<const std::uint32_t> nodes, std::size_t limit);

}  // namespace wireup::wire
