// The placement of the ranks of a process group: the node and appnum of each rank. PMI_process_mapping,
// cliques, barriers of a node and local ranks follow from it.
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
  // All ranks on one node, in one application. Throws std::invalid_argument if `size` is 0.
  static Layout single_node(std::uint32_t size);

  // Fills nodes in the order of the ranks; the last node may have fewer. Throws std::invalid_argument if an
  // argument is 0.
  static Layout by_node(std::uint32_t size, std::uint32_t ranks_per_node);

  // `app_sizes` are the numbers of ranks of the applications, in the order of ranks; `nodes` is the node of
  // each rank. Throws std::invalid_argument if the sum of the sizes is not the length of `nodes`, and as the
  // constructor does.
  static Layout of_apps(const std::vector<std::uint32_t>& app_sizes, const std::vector<std::uint32_t>& nodes);

  // One entry for each rank. Throws std::invalid_argument if there are none, or nodes are not numbered from 0
  // without gaps.
  explicit Layout(std::vector<Place> places);

  std::uint32_t size() const { return static_cast<std::uint32_t>(places_.size()); }
  std::uint32_t nodes() const { return nodes_; }
  const Place& place(std::uint32_t rank) const { return places_[rank]; }
  std::uint32_t local_rank(std::uint32_t rank) const { return local_ranks_[rank]; }
  std::uint32_t local_size(std::uint32_t rank) const { return node_sizes_[places_[rank].node]; }

  // The value of PMI_process_mapping, shorter than `limit` bytes, or empty; see
  // wire::write_process_mapping().
  std::string process_mapping(std::size_t limit) const;

 private:
  std::vector<Place> places_;
  std::vector<std::uint32_t> local_ranks_;
  std::vector<std::uint32_t> node_sizes_;
  std::uint32_t nodes_ = 0;
};

}  // namespace wireup::engine
