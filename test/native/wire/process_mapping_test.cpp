#include "wire/process_mapping.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::wire {
namespace {

using Nodes = std::vector<std::uint32_t>;

TEST_CASE("placements are compressed, and expand to themselves") {
  Nodes round_robin;
  Nodes blocks;
  for (std::uint32_t rank = 0; rank < 4096; ++rank) {
    round_robin.push_back(rank % 64);
    blocks.push_back(rank / 64);
  }
  const struct {
    Nodes nodes;
    std::string text;
  } rows[] = {
      {{0}, "(vector,(0,1,1))"},
      {{0, 0, 0, 0}, "(vector,(0,1,4))"},
      {{0, 1}, "(vector,(0,2,1))"},
      {{0, 0, 1, 1}, "(vector,(0,2,2))"},
      {{0, 0, 0, 1}, "(vector,(0,1,3),(1,1,1))"},
      {{0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}, "(vector,(0,2,2),(2,2,4))"},
      {{0, 1, 0, 1}, "(vector,(0,2,1))"},
      {{0, 1, 0, 1, 0}, "(vector,(0,2,1))"},
      {{0, 0, 1, 1, 0, 0, 1, 1}, "(vector,(0,2,2))"},
      {{0, 1, 1, 0}, "(vector,(0,1,1),(1,1,2))"},
      {{1, 0}, "(vector,(1,1,1),(0,1,1))"},
      {{2, 1, 0, 2, 1, 0}, "(vector,(2,1,1),(1,1,1),(0,1,1))"},
      {round_robin, "(vector,(0,64,1))"},
      {blocks, "(vector,(0,64,64))"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(format_process_mapping(compress_process_mapping(row.nodes)) == row.text);
    const auto parsed = parse_process_mapping(row.text);
    REQUIRE(parsed);
    CHECK(expand_process_mapping(*parsed, static_cast<std::uint32_t>(row.nodes.size())) == row.nodes);
  }
}

TEST_CASE("every short placement survives") {
  for (std::uint32_t length = 1; length <= 7; ++length) {
    std::uint32_t count = 1;
    for (std::uint32_t i = 0; i < length; ++i) count *= 3;
    for (std::uint32_t code = 0; code < count; ++code) {
      Nodes nodes;
      for (std::uint32_t i = 0, rest = code; i < length; ++i, rest /= 3) nodes.push_back(rest % 3);
      const std::string text = format_process_mapping(compress_process_mapping(nodes));
      const auto parsed = parse_process_mapping(text);
      REQUIRE(parsed);
      REQUIRE(expand_process_mapping(*parsed, length) == nodes);
    }
  }
}

TEST_CASE("reading") {
  CHECK(parse_process_mapping("(vector,(0,1,2))") == std::vector<MappingBlock>{{0, 1, 2}});
  CHECK(parse_process_mapping(" ( vector , ( 0 , 1 , 2 ) , (1,1,1) ) ") ==
        std::vector<MappingBlock>{{0, 1, 2}, {1, 1, 1}});
  for (const char* text :
       {"", "(vector)", "(vector,)", "(vector,(0,1))", "(vector,(0,1,2)", "(vector,(0,1,2)))",
        "(vector,(0,0,1))", "(vector,(0,1,0))", "(vector,(-1,1,1))", "(vector,(0,1,99999999999))",
        "(vector,(4294967295,2,1))", "(vector,(0,1,2))x", "(vector(0,1,2))", "vector,(0,1,2)"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_process_mapping(text));
  }
}

TEST_CASE("an expansion is bounded by the size asked for") {
  const std::vector<MappingBlock> huge = {{0, 4'000'000'000U, 4'000'000'000U}};
  CHECK(expand_process_mapping(huge, 5) == Nodes{0, 0, 0, 0, 0});
  const std::vector<MappingBlock> wrap = {{0, 1, 1}};
  CHECK(expand_process_mapping(wrap, 3) == Nodes{0, 0, 0});
  CHECK(expand_process_mapping({}, 3).empty());
}

}  // namespace
}  // namespace wireup::wire
