#include "wire/clique.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "wire/process_mapping.h"
#include "wire/text_reader.h"

namespace wireup::wire {
namespace {

// A block of RFC 34: its ranks are dealt out `repeat` times over the nodes.
struct TaskmapBlock {
  MappingBlock block;
  std::uint32_t repeat = 1;
};

class TaskmapReader {
 public:
  explicit TaskmapReader(std::string_view text) : text_(text) {}

  std::optional<std::vector<TaskmapBlock>> read() {
    // {"version":1,"map":[...]} or the bare array. The members come in any order.
    bool whole = false;
    std::vector<TaskmapBlock> blocks;
    if (text_.literal("{")) {
      bool have_map = false;
      do {
        if (text_.literal("\"version\"")) {
          std::uint32_t version = 0;
          if (!text_.literal(":") || !text_.number(version) || version != 1) return std::nullopt;
        } else if (text_.literal("\"map\"")) {
          if (have_map || !text_.literal(":") || !array(blocks)) return std::nullopt;
          have_map = true;
        } else {
          return std::nullopt;
        }
      } while (text_.literal(","));
      whole = have_map && text_.literal("}");
    } else {
      whole = array(blocks);
    }
    if (!whole || !text_.at_end()) return std::nullopt;
    return blocks;
  }

 private:
  bool array(std::vector<TaskmapBlock>& blocks) {
    if (!text_.literal("[")) return false;
    if (text_.literal("]")) return true;
    do {
      TaskmapBlock entry;
      const bool read = text_.literal("[") && text_.number(entry.block.node) && text_.literal(",") &&
                        text_.number(entry.block.nodes) && text_.literal(",") &&
                        text_.number(entry.block.per_node) && text_.literal(",") && text_.number(entry.repeat) &&
                        text_.literal("]");
      if (!read || entry.block.nodes == 0 || entry.block.per_node == 0 || entry.repeat == 0) return false;
      if (entry.block.nodes - 1 > std::numeric_limits<std::uint32_t>::max() - entry.block.node) return false;
      blocks.push_back(entry);
    } while (text_.literal(","));
    return text_.literal("]");
  }

  TextReader text_;
};

std::vector<std::uint32_t> expand(const std::vector<TaskmapBlock>& blocks, std::uint32_t size) {
  std::vector<std::uint32_t> nodes;
  for (const TaskmapBlock& entry : blocks) {
    for (std::uint32_t turn = 0; turn < entry.repeat && nodes.size() < size; ++turn) {
      for (std::uint32_t i = 0; i < entry.block.nodes && nodes.size() < size; ++i) {
        const std::size_t count = std::min<std::size_t>(entry.block.per_node, size - nodes.size());
        nodes.insert(nodes.end(), count, entry.block.node + i);
      }
    }
  }
  return nodes;
}

std::vector<std::uint32_t> nodes_of(std::string_view process_mapping, std::string_view flux_taskmap,
                                    std::uint32_t size) {
  if (const auto blocks = parse_process_mapping(process_mapping)) return expand_process_mapping(*blocks, size);
  if (const auto blocks = TaskmapReader(flux_taskmap).read()) return expand(*blocks, size);
  return {};
}

}  // namespace

std::vector<std::uint32_t> clique_ranks(std::string_view process_mapping, std::string_view flux_taskmap,
                                        std::uint32_t rank, std::uint32_t size) {
  const std::vector<std::uint32_t> nodes = nodes_of(process_mapping, flux_taskmap, size);
  if (rank >= nodes.size()) return {rank};
  std::vector<std::uint32_t> ranks;
  for (std::uint32_t other = 0; other < nodes.size(); ++other) {
    if (nodes[other] == nodes[rank]) ranks.push_back(other);
  }
  return ranks;
}

}  // namespace wireup::wire
