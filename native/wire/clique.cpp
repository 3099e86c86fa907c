#include "wire/clique.h"

#include <optional>
#include <utility>

#include "wire/process_mapping.h"
#include "wire/text_reader.h"

namespace wireup::wire {
namespace {

// Reads a task map of RFC 34: [[node,nodes,ranks per node,repetitions],...].
class TaskmapReader {
 public:
  explicit TaskmapReader(std::string_view text) : text_(text) {}

  std::optional<std::vector<MappingGroup>> read() {
    // RFC 34 allows an object, {"version":1,"map":[...]}, whose members come in any order, or only the array.
    bool whole = false;
    std::vector<MappingGroup> entries;
    if (text_.literal("{")) {
      bool have_map = false;
      do {
        if (text_.literal("\"version\"")) {
          std::uint32_t version = 0;
          if (!text_.literal(":") || !text_.number(version) || version != 1) return std::nullopt;
        } else if (text_.literal("\"map\"")) {
          if (have_map || !text_.literal(":") || !array(entries)) return std::nullopt;
          have_map = true;
        } else {
          return std::nullopt;
        }
      } while (text_.literal(","));
      whole = have_map && text_.literal("}");
    } else {
      whole = array(entries);
    }
    if (!whole || !text_.at_end()) return std::nullopt;
    return entries;
  }

 private:
  bool array(std::vector<MappingGroup>& entries) {
    if (!text_.literal("[")) return false;
    if (text_.literal("]")) return true;
    do {
      MappingBlock block;
      std::uint32_t repetitions = 0;
      const bool read = text_.literal("[") && text_.number(block.node) && text_.literal(",") &&
                        text_.number(block.nodes) && text_.literal(",") && text_.number(block.per_node) &&
                        text_.literal(",") && text_.number(repetitions) && text_.literal("]");
      if (!read || !block.valid() || repetitions == 0) return false;
      entries.push_back({{block}, repetitions});
    } while (text_.literal(","));
    return text_.literal("]");
  }

  TextReader text_;
};

Clique unreadable(std::string_view key, std::string_view expected) {
  return {.error = std::string(key) + " of the server is malformed: expected " + std::string(expected)};
}

Clique clique_in(const std::vector<std::uint32_t>& nodes, std::uint32_t rank) {
  Clique clique;
  for (std::uint32_t other = 0; other < nodes.size(); ++other) {
    if (nodes[other] == nodes[rank]) clique.ranks.push_back(other);
  }
  return clique;
}

}  // namespace

Clique find_clique(std::string_view process_mapping, std::string_view flux_taskmap, std::uint32_t rank,
                   std::uint32_t size) {
  if (!process_mapping.empty()) {
    const auto nodes = read_process_mapping(process_mapping, size);
    return nodes ? clique_in(*nodes, rank)
                 : unreadable(kProcessMappingKey, "(vector,(node,nodes,ranks),...)");
  }
  if (flux_taskmap.empty()) return {.ranks = {rank}};
  const auto entries = TaskmapReader(flux_taskmap).read();
  if (!entries) return unreadable(kFluxTaskmapKey, "[[node,nodes,ranks,repetitions],...]");
  if (entries->empty()) return {.ranks = {rank}};
  std::vector<std::uint32_t> nodes;
  expand(*entries, size, nodes);
  if (nodes.size() == size) return clique_in(nodes, rank);
  return {.error = std::string(kFluxTaskmapKey) + " of the server places " + std::to_string(nodes.size()) +
                   " of " + std::to_string(size) + " ranks"};
}

}  // namespace wireup::wire
