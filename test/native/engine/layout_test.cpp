#include "engine/layout.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

namespace wireup::engine {
namespace {

TEST_CASE("layout: a single node") {
  const Layout layout = Layout::single_node(3);
  CHECK(layout.size() == 3);
  CHECK(layout.nodes() == 1);
  CHECK(layout.local_rank(2) == 2);
  CHECK(layout.local_size(2) == 3);
  CHECK(layout.place(2) == Place{0, 0});
  CHECK(layout.process_mapping(1024) == "(vector,(0,1,3))");
}

TEST_CASE("layout: several nodes") {
  const Layout layout({{1, 0}, {0, 0}, {1, 1}, {1, 1}});
  CHECK(layout.nodes() == 2);
  CHECK(layout.local_rank(0) == 0);
  CHECK(layout.local_rank(1) == 0);
  CHECK(layout.local_rank(3) == 2);
  CHECK(layout.local_size(0) == 3);
  CHECK(layout.local_size(1) == 1);
  CHECK(layout.process_mapping(1024) == "(vector,(1,1,1),(0,1,1),(1,1,2))");
}

TEST_CASE("layout: nodes are filled in the order of ranks") {
  const Layout pairs = Layout::by_node(5, 2);
  CHECK(pairs.nodes() == 3);
  CHECK(pairs.local_rank(3) == 1);
  CHECK(pairs.local_size(3) == 2);
  CHECK(pairs.local_size(4) == 1);
  CHECK(pairs.process_mapping(1024) == "(vector,(0,2,2),(2,1,1))");
  CHECK(Layout::by_node(8, 1).process_mapping(1024) == "(vector,(0,8,1))");
  CHECK(Layout::by_node(3, 100).nodes() == 1);
  CHECK_THROWS_AS(Layout::by_node(3, 0), std::invalid_argument);
}

TEST_CASE("layout: applications in order, on the given nodes") {
  const Layout layout = Layout::of_apps({1, 2}, {0, 1, 0});
  CHECK(layout.place(0) == Place{0, 0});
  CHECK(layout.place(1) == Place{1, 1});
  CHECK(layout.place(2) == Place{0, 1});
  CHECK(layout.local_rank(2) == 1);
  CHECK_THROWS_AS(Layout::of_apps({2, 2}, {0, 0, 0}), std::invalid_argument);
  CHECK_THROWS_AS(Layout::of_apps({2}, {0, 0, 0}), std::invalid_argument);
  CHECK_THROWS_AS(Layout::of_apps({2}, {0, 2}), std::invalid_argument);
}

TEST_CASE("layout: a mapping that exceeds its limit is empty") {
  const Layout layout = Layout::single_node(3);
  CHECK(layout.process_mapping(17) == "(vector,(0,1,3))");
  CHECK(layout.process_mapping(16).empty());
  // Without any repetition.
  std::vector<Place> places = {{0, 0}, {1, 0}};
  for (std::uint32_t rank = 0, state = 1; rank < 2000; ++rank) {
    state = state * 1664525 + 1013904223;
    places.push_back({state >> 31, 0});
  }
  CHECK(Layout(places).process_mapping(1024).empty());
}

TEST_CASE("layout: invalid placements are refused") {
  CHECK_THROWS_AS(Layout::single_node(0), std::invalid_argument);
  CHECK_THROWS_AS(Layout({{1, 0}}), std::invalid_argument);
  CHECK_THROWS_AS(Layout({{0, 0}, {2, 0}, {2, 0}}), std::invalid_argument);
  CHECK_THROWS_AS(Layout({{4'000'000'000U, 0}}), std::invalid_argument);
}

}  // namespace
}  // namespace wireup::engine
