#include "wire/clique.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

using Ranks = std::vector<std::uint32_t>;

TEST_CASE("clique: found from the process mapping or the task map") {
  const struct {
    std::string_view mapping;
    std::string_view taskmap;
    std::uint32_t rank;
    std::uint32_t size;
    Ranks expected;
  } rows[] = {
      {"(vector,(0,2,2))", "", 2, 4, {2, 3}},
      {"(vector,(0,2,1))", "", 1, 4, {1, 3}},  // the block repeats
      {"(vector,(0,1,1))", "", 0, 3, {0, 1, 2}},
      // The task map only counts if the process mapping is empty.
      {"(vector,(0,1,4))", "[[0,4,1,1]]", 1, 4, {0, 1, 2, 3}},
      {"", "[[0,4,1,1]]", 1, 4, {1}},
      {"", "[[0,2,1,2]]", 1, 4, {1, 3}},
      {"", "[[0,4,2,2]]", 9, 16, {0, 1, 8, 9}},
      {"", "[[1,1,1,1],[0,1,1,1]]", 0, 2, {0}},
      {"", R"({"version":1, "map":[[0,2,2,1]]})", 3, 4, {2, 3}},
      {"", R"({"map":[[0,2,2,1]],"version":1})", 0, 4, {0, 1}},
      {"", " [ [ 0 , 1 , 2 , 1 ] ] ", 0, 2, {0, 1}},
      {"(vector,(1,1,1),(0,1,1))", "", 0, 4, {0}},
      {"(vector,(1,1,1),(0,1,1))", "", 1, 4, {1, 2, 3}},
      {"(vector,[(0,3,1)]x2)", "", 1, 6, {1, 4}},
      {"(vector,(0,1,2),(1,1,3),2)", "", 3, 6, {2, 3, 4}},
      // Both are empty.
      {"", "", 3, 4, {3}},
      {"", "[]", 3, 4, {3}},
      // The result is limited by the number of ranks.
      {"", "[[0,4294967295,4294967295,4294967295]]", 1, 2, {0, 1}},
      {"(vector,(0,4294967295,4294967295))", "", 1, 2, {0, 1}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.mapping);
    CAPTURE(row.taskmap);
    const Clique clique = find_clique(row.mapping, row.taskmap, row.rank, row.size);
    CHECK(clique.ranks == row.expected);
    CHECK(clique.error == "");
  }
}

TEST_CASE("clique: a malformed value is an error that names its key") {
  for (const std::string_view mapping : {"nonsense", " ", "(vector,(0,1))", "(vector,[0]x)"}) {
    CAPTURE(mapping);
    const Clique clique = find_clique(mapping, "[[0,4,1,1]]", 0, 4);
    CHECK(clique.ranks.empty());
    CHECK(clique.error ==
          "PMI_process_mapping of the server is malformed: expected (vector,(node,nodes,ranks),...)");
  }
  for (const std::string_view taskmap :
       {"nonsense", "[[0,1,2]]", "[[0,1,2,1],]", "[[0,0,2,1]]", "[[0,1,0,1]]", "[[0,1,2,0]]", "[[0,1,-2,1]]",
        "[[4294967295,2,1,1]]", R"({"version":2,"map":[[0,1,2,1]]})", R"({"version":1})",
        "[[0,1,2,1]] more"}) {
    CAPTURE(taskmap);
    const Clique clique = find_clique("", taskmap, 0, 2);
    CHECK(clique.ranks.empty());
    CHECK(clique.error ==
          "flux.taskmap of the server is malformed: expected [[node,nodes,ranks,repetitions],...]");
  }
}

TEST_CASE("clique: a task map that omits ranks is an error for every rank") {
  for (const std::uint32_t rank : {0U, 3U}) {
    const Clique clique = find_clique("", "[[0,1,2,1]]", rank, 4);
    CHECK(clique.ranks.empty());
    CHECK(clique.error == "flux.taskmap of the server places 2 of 4 ranks");
  }
}

}  // namespace
}  // namespace wireup::wire
