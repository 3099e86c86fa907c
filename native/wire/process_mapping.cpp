#include "wire/process_mapping.h"

#include <algorithm>
#include <limits>

#include "wire/text_reader.h"

namespace wireup::wire {
namespace {

// Returns the length of the shortest period of the sequence. The last repetition may be incomplete.
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

std::string format(std::span<const MappingBlock> blocks) {
  std::string text = "(vector";
  for (const MappingBlock& block : blocks) {
    text += ",(" + std::to_string(block.node) + "," + std::to_string(block.nodes) + "," +
            std::to_string(block.per_node) + ")";
  }
  return text + ")";
}

bool read_block(TextReader& reader, MappingBlock& block) {
  if (!reader.literal("(")) return reader.number(block.node);
  return reader.number(block.node) && reader.literal(",") && reader.number(block.nodes) &&
         reader.literal(",") && reader.number(block.per_node) && reader.literal(")") && block.valid();
}

// Reads a group after its opening bracket.
bool read_group(TextReader& reader, MappingGroup& group) {
  do {
    MappingBlock block;
    if (!read_block(reader, block)) return false;
    group.blocks.push_back(block);
  } while (reader.literal(","));
  return reader.literal("]") && reader.literal("x") && reader.number(group.repetitions) &&
         group.repetitions > 0;
}

}  // namespace

bool MappingBlock::valid() const {
  return nodes > 0 && per_node > 0 && nodes - 1 <= std::numeric_limits<std::uint32_t>::max() - node;
}

void expand(std::span<const MappingGroup> groups, std::uint32_t size, std::vector<std::uint32_t>& nodes) {
  for (const MappingGroup& group : groups) {
    for (std::uint32_t turn = 0; turn < group.repetitions && nodes.size() < size; ++turn) {
      for (const MappingBlock& block : group.blocks) {
        for (std::uint32_t i = 0; i < block.nodes && nodes.size() < size; ++i) {
          const std::size_t count = std::min<std::size_t>(block.per_node, size - nodes.size());
          nodes.insert(nodes.end(), count, block.node + i);
        }
      }
    }
  }
}

std::optional<std::vector<std::uint32_t>> read_process_mapping(std::string_view text, std::uint32_t size) {
  TextReader reader(text);
  if (!reader.literal("(") || !reader.literal("vector")) return std::nullopt;
  std::vector<MappingGroup> groups;
  std::optional<std::size_t> repeat_from;  // index in `groups`
  while (reader.literal(",")) {
    MappingGroup group;
    if (reader.literal("[")) {
      if (!read_group(reader, group)) return std::nullopt;
      repeat_from = groups.size();
    } else {
      MappingBlock block;
      if (!read_block(reader, block)) return std::nullopt;
      if (!repeat_from && block.node == 0) repeat_from = groups.size();
      group.blocks.push_back(block);
    }
    groups.push_back(std::move(group));
  }
  if (groups.empty() || !reader.literal(")") || !reader.at_end()) return std::nullopt;
  std::vector<std::uint32_t> nodes;
  expand(groups, size, nodes);
  const auto repeated = std::span(groups).subspan(repeat_from.value_or(0));
  while (nodes.size() < size) expand(repeated, size, nodes);
  return nodes;
}

std::string write_process_mapping(std::span<const std::uint32_t> nodes, std::size_t limit) {
  std::string text = format(blocks_of(nodes));
  if (text.size() < limit) return text;
  const auto zero = static_cast<std::size_t>(std::ranges::find(nodes, 0U) - nodes.begin());
  const auto repeated = nodes.subspan(zero);
  std::vector<MappingBlock> blocks = blocks_of(nodes.first(zero));
  const std::vector<MappingBlock> once = blocks_of(repeated.first(smallest_period(repeated)));
  blocks.insert(blocks.end(), once.begin(), once.end());
  text = format(blocks);
  return text.size() < limit ? text : std::string();
}

}  // namespace wireup::wire
