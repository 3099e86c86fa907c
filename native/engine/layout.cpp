#include "engine/layout.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "wire/process_mapping.h"

namespace wireup::engine {

Layout Layout::single_node(std::uint32_t size) { return Layout(std::vector<Place>(size)); }

Layout Layout::by_node(std::uint32_t size, std::uint32_t ranks_per_node) {
  if (ranks_per_node == 0) throw std::invalid_argument("ranks per node: expected at least 1");
  std::vector<Place> places(size);
  for (std::uint32_t rank = 0; rank < size; ++rank) places[rank].node = rank / ranks_per_node;
  return Layout(std::move(places));
}

Layout Layout::of_apps(const std::vector<std::uint32_t>& app_sizes, const std::vector<std::uint32_t>& nodes) {
  std::vector<Place> places;
  places.reserve(nodes.size());
  for (std::uint32_t app = 0; app < app_sizes.size(); ++app) {
    if (app_sizes[app] > nodes.size() - places.size())
      throw std::invalid_argument("nodes: expected one for each rank, got fewer");
    for (std::uint32_t i = 0; i < app_sizes[app]; ++i) places.push_back({nodes[places.size()], app});
  }
  if (places.size() != nodes.size())
    throw std::invalid_argument("nodes: expected one for each rank, got more");
  return Layout(std::move(places));
}

Layout::Layout(std::vector<Place> places) : places_(std::move(places)) {
  if (places_.empty()) throw std::invalid_argument("ranks: expected at least 1");
  // Node numbers without gaps are below the number of ranks, so this check also limits the memory of the
  // table.
  for (const Place& place : places_) {
    if (place.node >= places_.size())
      throw std::invalid_argument("nodes: expected numbers from 0 without gaps");
    nodes_ = std::max(nodes_, place.node + 1);
  }
  node_sizes_.resize(nodes_);
  local_ranks_.reserve(places_.size());
  for (const Place& place : places_) local_ranks_.push_back(node_sizes_[place.node]++);
  if (std::ranges::count(node_sizes_, 0U) != 0) {
    throw std::invalid_argument("nodes: expected numbers from 0 without gaps");
  }
}

std::string Layout::process_mapping(std::size_t limit) const {
  std::vector<std::uint32_t> nodes;
  nodes.reserve(places_.size());
  for (const Place& place : places_) nodes.push_back(place.node);
  return wire::write_process_mapping(nodes, limit);
}

}  // namespace wireup::engine
