#include "wire/clique.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

using Ranks = std::vector<std::uint32_t>;

TEST_CASE("cliques, from either value") {
  const struct {
    std::string_view mapping;
    std::string_view taskmap;
    std::uint32_t rank;
    std::uint32_t size;
    Ranks expected;
  } rows[] = {
      {"(vector,(0,2,2))", "", 2, 4, {2, 3}},
      {"(vector,(0,2,1))", "", 1, 4, {1, 3}},  // blocks repeat
      {"(vector,(0,1,1))", "", 0, 3, {0, 1, 2}},
      // The process mapping comes first; what it leaves open the task map says.
      {"(vector,(0,1,4))", "[[0,4,1,1]]", 1, 4, {0, 1, 2, 3}},
      {"", "[[0,4,1,1]]", 1, 4, {1}},
      {"", "[[0,2,1,2]]", 1, 4, {1, 3}},
      {"", "[[0,4,2,2]]", 9, 16, {0, 1, 8, 9}},
      {"", "[[1,1,1,1],[0,1,1,1]]", 0, 2, {0}},
      {"", R"({"version":1, "map":[[0,2,2,1]]})", 3, 4, {2, 3}},
      {"", R"({"map":[[0,2,2,1]],"version":1})", 0, 4, {0, 1}},
      {"", " [ [ 0 , 1 , 2 , 1 ] ] ", 0, 2, {0, 1}},
      // Unknown, or of fewer ranks than there are.
      {"", "", 3, 4, {3}},
      {"", "[]", 3, 4, {3}},
      {"", "[[0,1,2,1]]", 3, 4, {3}},
      {"nonsense", "nonsense", 0, 2, {0}},
      {"", "[[0,1,2]]", 0, 2, {0}},
      {"", "[[0,1,2,1],]", 0, 2, {0}},
      {"", "[[0,0,2,1]]", 0, 2, {0}},
      {"", "[[0,1,0,1]]", 0, 2, {0}},
      {"", "[[0,1,2,0]]", 0, 2, {0}},
      {"", "[[0,1,-2,1]]", 0, 2, {0}},
      {"", "[[4294967295,2,1,1]]", 0, 2, {0}},
      {"", R"({"version":2,"map":[[0,1,2,1]]})", 0, 2, {0}},
      {"", R"({"version":1})", 0, 2, {0}},
      {"", "[[0,1,2,1]] more", 0, 2, {0}},
      // Never more than there are ranks, whatever is said.
      {"", "[[0,4294967295,4294967295,4294967295]]", 1, 2, {0, 1}},
      {"(vector,(0,4294967295,4294967295))", "", 1, 2, {0, 1}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.mapping);
    CAPTURE(row.taskmap);
    CHECK(clique_ranks(row.mapping, row.taskmap, row.rank, row.size) == row.expected);
  }
}

}  // namespace
}  // namespace wireup::wire
