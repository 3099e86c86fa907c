#include "wire/process_mapping.h"

#include <limits>

#include "wire/text_reader.h"

namespace wireup::wire {
namespace {

// The smallest distance after which the sequence repeats (its last repetition may be cut short).
std::size_t smallest_period(std::span<const std::uint32_t> sequence) {
  std::vector<std::size_t> border(sequence.size(), 0);
  for (std::size_t i = 1, length = 0; i < sequence.size(); ++i) {
    while (length > 0 && sequence[i] != sequence[length]) length = border[length - 1];
    if (sequence[i] == sequence[length]) ++length;
    border[i] = length;
  }
  return sequence.empty() ? 0 : sequence.size() - border.back();
}

std::vector<MappingBlock> blocks_of(std::span<const std::uint32_t> nodes) {
  std::vector<MappingBlock> blocks;
  for (std::size_t i = 0; i < nodes.size();) {
    std::size_t end = i + 1;
    while (end < nodes.size() && nodes[end] == nodes[i]) ++end;
    const auto count = static_cast<std::uint32_t>(end - i);
    const bool joins = !blocks.empty() && blocks.back().per_node == count &&
                       nodes[i] - blocks.back().node == blocks.back().nodes;
    if (joins) {
      ++blocks.back().nodes;
    } else {
      blocks.push_back({nodes[i], 1, count});
    }
    i = end;
  }
  return blocks;
}

}  // namespace

std::string format_process_mapping(std::span<const MappingBlock> blocks) {
  std::string text = "(vector";
  for (const MappingBlock& block : blocks) {
    text += ",(" + std::to_string(block.node) + "," + std::to_string(block.nodes) + "," +
            std::to_string(block.per_node) + ")";
  }
  return text + ")";
}

std::optional<std::vector<MappingBlock>> parse_process_mapping(std::string_view text) {
  TextReader reader(text);
  if (!reader.literal("(") || !reader.literal("vector")) return std::nullopt;
  std::vector<MappingBlock> blocks;
  while (reader.literal(",")) {
    MappingBlock block;
    const bool whole = reader.literal("(") && reader.number(block.node) && reader.literal(",") &&
                       reader.number(block.nodes) && reader.literal(",") && reader.number(block.per_node) &&
                       reader.literal(")");
    if (!whole || block.nodes == 0 || block.per_node == 0) return std::nullopt;
    if (block.nodes - 1 > std::numeric_limits<std::uint32_t>::max() - block.node) return std::nullopt;
    blocks.push_back(block);
  }
  if (blocks.empty() || !reader.literal(")") || !reader.at_end()) return std::nullopt;
  return blocks;
}

std::vector<std::uint32_t> expand_process_mapping(std::span<const MappingBlock> blocks, std::uint32_t size) {
  std::vector<std::uint32_t> nodes;
  bool progress = true;
  while (nodes.size() < size && progress) {
    progress = false;
    for (const MappingBlock& block : blocks) {
      if (block.per_node == 0) continue;
      for (std::uint32_t i = 0; i < block.nodes && nodes.size() < size; ++i) {
        const std::size_t count = std::min<std::size_t>(block.per_node, size - nodes.size());
        nodes.insert(nodes.end(), count, block.node + i);
        progress = true;
      }
    }
  }
  return nodes;
}

std::vector<MappingBlock> compress_process_mapping(std::span<const std::uint32_t> nodes) {
  std::vector<MappingBlock> whole = blocks_of(nodes);
  // A single block says all without repetition, which readers that do not wrap understand too.
  if (whole.size() <= 1) return whole;
  std::vector<MappingBlock> repeated = blocks_of(nodes.first(smallest_period(nodes)));
  return repeated.size() < whole.size() ? repeated : whole;
}

}  // namespace wireup::wire
