// Where the ranks of a job are: rank -> node and appnum. Process mapping, cliques, NODE barriers and local
// ranks all follow from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::engine {

struct Place {
  std::uint32_t node = 0;
  std::uint32_t appnum = 0;
  bool operator==(const Place&) const = default;
};

class Layout {
 public:
  // All ranks on one node, one application. Both throw std::invalid_argument for no ranks.
  static Layout single_node(std::uint32_t size);

  // Nodes are filled in the order of ranks; the last may have fewer. Throws std::invalid_argument for no
  // ranks, in the job or on a node.
  static Layout by_node(std::uint32_t size, std::uint32_t ranks_per_node);

  // Applications one after the other, each with so many ranks; the node of each rank. Throws
  // std::invalid_argument when these are not as many, and as below.
  static Layout of_apps(const std::vector<std::uint32_t>& app_sizes, const std::vector<std::uint32_t>& nodes);

  // One entry a rank. Nodes are numbered from 0 without gaps (std::invalid_argument otherwise).
  explicit Layout(std::vector<Place> places);

  std::uint32_t size() const { return static_cast<std::uint32_t>(places_.size()); }
  std::uint32_t nodes() const { return nodes_; }
  const Place& place(std::uint32_t rank) const { return places_[rank]; }
  std::uint32_t local_rank(std::uint32_t rank) const { return local_ranks_[rank]; }
  std::uint32_t local_size(std::uint32_t rank) const { return node_sizes_[places_[rank].node]; }

  // The value of the key PMI_process_mapping, of `limit` bytes with its terminator at most:
  // wire::write_process_mapping().
  std::string process_mapping(std::size_t limit) const;

 private:
  std::vector<Place> places_;
  std::vector<std::uint32_t> local_ranks_;
  std::vector<std::uint32_t> node_sizes_;
  std::uint32_t nodes_ = 0;
};

}  // namespace wireup::engine
