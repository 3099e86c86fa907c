// The value of the key PMI_process_mapping, which lists the node of each rank.
//
//   mapping = "(vector" 1*( "," ( block / group ) ) ")"
//   group   = "[" block *( "," block ) "]x" count
//   block   = "(" node "," nodes "," per-node ")" / node
//
// The block (node,nodes,per-node) describes `nodes` nodes, starting with number `node`, each with `per-node`
// consecutive ranks. A single number describes one rank on that node. A group describes `count` repetitions
// of its blocks. MPICH 4.1 and newer write groups and single numbers, see its MPL_rankmap_str_to_array(). RFC
// 13 and MPICH 4.0 only know blocks of three numbers.
//
// If the mapping describes fewer ranks than the process group has, readers differ. MPICH repeats a part of
// it: from the last group; without groups, from the first block that begins at node 0. Without such a block,
// MPICH 4.0 repeats the whole mapping, and 4.1 leaves the remaining ranks without a node.
// read_process_mapping() does what MPICH 4.0 does, with groups. Flux repeats nothing.
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

  // True if `nodes` and `per_node` are at least 1 and the number of the last node fits in 32 bits.
  bool valid() const;
};

struct MappingGroup {
  std::vector<MappingBlock> blocks;
  std::uint32_t repetitions = 1;
};

// Appends the node of each rank that `groups` describe, until `nodes` has `size` elements.
void expand(std::span<const MappingGroup> groups, std::uint32_t size, std::vector<std::uint32_t>& nodes);

// Returns the node of each of `size` ranks, or nothing if `text` is not a mapping or has a block or group
// without ranks. Blanks between the parts are accepted. Time and memory are proportional to the length of the
// text and to `size`, even if the numbers in the text are large.
std::optional<std::vector<std::uint32_t>> read_process_mapping(std::string_view text, std::uint32_t size);

// Returns a mapping of `nodes`, shorter than `limit` bytes, that every reader understands: blocks of three
// numbers for all ranks. If that is too long, and the placement repeats from a block that begins at node 0,
// the result has only one period of it. The result is empty if that is too long as well.
std::string write_process_mapping(std::span<const std::uint32_t> nodes, std::size_t limit);

}  // namespace wireup::wire
