#include "wire/process_mapping.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace wireup::wire {
namespace {

using Nodes = std::vector<std::uint32_t>;

constexpr std::size_t kLong = 1024;

Nodes numbered(std::uint32_t size, std::uint32_t (*node)(std::uint32_t)) {
  Nodes nodes(size);
  for (std::uint32_t rank = 0; rank < size; ++rank) nodes[rank] = node(rank);
  return nodes;
}

// How other programs read a mapping, according to their sources. These readers only know blocks of three
// numbers without blanks, which is what write_process_mapping() writes.
using Block = std::array<std::uint32_t, 3>;

std::vector<Block> blocks_in(const std::string& text) {
  std::vector<Block> blocks;
  const char* at = text.c_str();
  REQUIRE(text.starts_with("(vector"));
  at += 7;
  Block block{};
  for (int used = 0; std::sscanf(at, ",(%u,%u,%u)%n", &block[0], &block[1], &block[2], &used) == 3;
       at += used) {
    blocks.push_back(block);
  }
  REQUIRE(std::string(at) == ")");
  return blocks;
}

void play(const std::vector<Block>& blocks, std::size_t first, std::uint32_t size, Nodes& nodes) {
  for (std::size_t i = first; i < blocks.size(); ++i) {
    const auto [node, count, each] = blocks[i];
    for (std::uint32_t k = 0; k < count * each && nodes.size() < size; ++k) nodes.push_back(node + k / each);
  }
}

// MPICH 4.0 repeats from the first block that begins at node 0, or from the first block if there is none.
// MPICH 4.1 and newer repeat nothing if there is none, and the remaining ranks have no node; this function
// then returns nothing.
Nodes as_mpich_reads(const std::string& text, std::uint32_t size) {
  const std::vector<Block> blocks = blocks_in(text);
  Nodes nodes;
  play(blocks, 0, size, nodes);
  const auto zero = std::ranges::find_if(blocks, [](const Block& block) { return block[0] == 0; });
  while (nodes.size() < size) {
    if (zero == blocks.end()) return {};
    play(blocks, static_cast<std::size_t>(zero - blocks.begin()), size, nodes);
  }
  return nodes;
}

// Flux repeats nothing, and reads all ranks that the blocks describe.
Nodes as_flux_reads(const std::string& text) {
  Nodes nodes;
  play(blocks_in(text), 0, UINT32_MAX, nodes);
  return nodes;
}

TEST_CASE("process mapping: a placement is written without repetition") {
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
      {{0, 1, 0, 1}, "(vector,(0,2,1),(0,2,1))"},
      {{0, 1, 0, 1, 0}, "(vector,(0,2,1),(0,2,1),(0,1,1))"},
      {{0, 1, 1, 0}, "(vector,(0,1,1),(1,1,2),(0,1,1))"},
      {{1, 0}, "(vector,(1,1,1),(0,1,1))"},
      {{1, 0, 1, 0}, "(vector,(1,1,1),(0,2,1),(0,1,1))"},
      {{2, 1, 0, 2, 1, 0}, "(vector,(2,1,1),(1,1,1),(0,1,1),(2,1,1),(1,1,1),(0,1,1))"},
      {numbered(4096, [](std::uint32_t rank) { return rank / 64; }), "(vector,(0,64,64))"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto size = static_cast<std::uint32_t>(row.nodes.size());
    CHECK(write_process_mapping(row.nodes, kLong) == row.text);
    CHECK(read_process_mapping(row.text, size) == row.nodes);
    CHECK(as_mpich_reads(row.text, size) == row.nodes);
    CHECK(as_flux_reads(row.text) == row.nodes);
  }
}

TEST_CASE("process mapping: one period is written if the whole placement exceeds the limit") {
  const struct {
    Nodes nodes;
    std::size_t limit;
    std::string text;
  } rows[] = {
      {numbered(4096, [](std::uint32_t rank) { return rank % 4; }), kLong, "(vector,(0,4,1))"},
      {{0, 1, 0, 1}, 25, "(vector,(0,2,1),(0,2,1))"},
      {{0, 1, 0, 1}, 24, "(vector,(0,2,1))"},
      {{0, 1, 0, 1}, 17, "(vector,(0,2,1))"},
      {{0, 1, 0, 1}, 16, ""},
      // Blocks before node 0 are not repeated.
      {numbered(999, [](std::uint32_t rank) { return rank < 3 ? rank + 1 : (rank - 3) % 4; }), kLong,
       "(vector,(1,3,1),(0,4,1))"},
      {numbered(999, [](std::uint32_t rank) { return (rank + 1) % 2; }), kLong, "(vector,(1,1,1),(0,2,1))"},
      {numbered(999, [](std::uint32_t rank) { return 2 - rank % 3; }), kLong,
       "(vector,(2,1,1),(1,1,1),(0,1,1),(2,1,1),(1,1,1))"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto size = static_cast<std::uint32_t>(row.nodes.size());
    CHECK(write_process_mapping(row.nodes, row.limit) == row.text);
    if (row.text.empty()) continue;
    CHECK(read_process_mapping(row.text, size) == row.nodes);
    CHECK(as_mpich_reads(row.text, size) == row.nodes);
  }
}

// Checks the promises of write_process_mapping() at every limit.
void check_every_limit(const Nodes& nodes) {
  const auto size = static_cast<std::uint32_t>(nodes.size());
  const std::string whole = write_process_mapping(nodes, SIZE_MAX);
  REQUIRE(as_flux_reads(whole) == nodes);
  REQUIRE(as_mpich_reads(whole, size) == nodes);
  REQUIRE(read_process_mapping(whole, size) == nodes);
  REQUIRE(write_process_mapping(nodes, whole.size() + 1) == whole);
  const std::string once = write_process_mapping(nodes, whole.size());
  if (once.empty()) return;
  REQUIRE(once.size() < whole.size());
  REQUIRE(as_mpich_reads(once, size) == nodes);
  REQUIRE(read_process_mapping(once, size) == nodes);
}

TEST_CASE("process mapping: MPICH, Flux and wireup read every short placement as it was written") {
  for (std::uint32_t length = 1; length <= 8; ++length) {
    std::uint32_t count = 1;
    for (std::uint32_t i = 0; i < length; ++i) count *= 3;
    for (std::uint32_t code = 0; code < count; ++code) {
      Nodes nodes;
      for (std::uint32_t i = 0, rest = code; i < length; ++i, rest /= 3) nodes.push_back(rest % 3);
      check_every_limit(nodes);
    }
  }
}

TEST_CASE("process mapping: random placements are read as they were written") {
  std::mt19937 random(1);  // NOLINT: a fixed seed, so that each run has the same placements
  const auto below = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); };
  for (int turn = 0; turn < 3000; ++turn) {
    Nodes period(1 + below(12));
    for (std::uint32_t& node : period) node = below(5);
    Nodes nodes(below(6));
    for (std::uint32_t& node : nodes) node = below(5);
    for (std::uint32_t left = 1 + below(60); left > 0; --left) nodes.push_back(period[left % period.size()]);
    check_every_limit(nodes);
  }
}

TEST_CASE("process mapping: both grammars, and mappings that repeat") {
  const struct {
    std::string_view text;
    Nodes nodes;
  } rows[] = {
      {"(vector,(0,1,2))", {0, 0}},
      {" ( vector , ( 0 , 1 , 2 ) , (1,1,1) ) ", {0, 0, 1}},
      // The mapping describes more ranks than there are.
      {"(vector,(0,2,4))", {0, 0, 0, 0, 1}},
      {"(vector,[(0,2,1)]x9)", {0, 1, 0}},
      // Single numbers and groups.
      {"(vector,3,2,1,0)", {3, 2, 1, 0}},
      {"(vector,(0,1,2),(1,1,3),2)", {0, 0, 1, 1, 1, 2}},
      {"(vector,(1,3,1),0)", {1, 2, 3, 0}},
      {"(vector,[(0,3,1)]x2)", {0, 1, 2, 0, 1, 2}},
      {"(vector,[(1,3,1),0]x3)", {1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0}},
      {"(vector,[(0,2,1),2]x3,(0,3,1))", {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}},
      {"(vector,5,[0,1]x2,[2]x3,7)", {5, 0, 1, 0, 1, 2, 2, 2, 7}},
      {" (vector , [ (0,3,1) , 4 ] x 2 ) ", {0, 1, 2, 4, 0, 1, 2, 4}},
      // The mapping describes fewer ranks than there are.
      {"(vector,(0,1,1))", {0, 0, 0}},
      {"(vector,0)", {0, 0, 0}},
      {"(vector,(1,1,1),(0,1,1))", {1, 0, 0, 0}},
      {"(vector,(1,3,1),(0,4,1))", {1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0}},
      {"(vector,(2,1,1),(1,1,1),(0,1,1))", {2, 1, 0, 0, 0, 0}},
      {"(vector,(0,2,1),(5,1,1),(0,1,1))", {0, 1, 5, 0, 0, 1, 5, 0}},
      {"(vector,(3,2,1))", {3, 4, 3, 4, 3}},
      {"(vector,[(0,3,1)]x2)", {0, 1, 2, 0, 1, 2, 0, 1, 2, 0}},
      {"(vector,0,7,[(1,1,2),2]x1)", {0, 7, 1, 1, 2, 1, 1, 2}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(read_process_mapping(row.text, static_cast<std::uint32_t>(row.nodes.size())) == row.nodes);
  }
}

TEST_CASE("process mapping: malformed texts are refused") {
  for (const char* text : {"",
                           "(vector)",
                           "(vector,)",
                           "(vector,(0,1))",
                           "(vector,(0,1,2)",
                           "(vector,(0,1,2)))",
                           "(vector,(0,0,1))",
                           "(vector,(0,1,0))",
                           "(vector,(-1,1,1))",
                           "(vector,(0,1,99999999999))",
                           "(vector,(4294967295,2,1))",
                           "(vector,(0,1,2))x",
                           "(vector(0,1,2))",
                           "vector,(0,1,2)",
                           "(matrix,(0,1,2))",
                           "(vector,-1)",
                           "(vector,99999999999)",
                           "(vector,1,)",
                           "(vector,1 2)",
                           "(vector,[0])",
                           "(vector,[0]x)",
                           "(vector,[0]x0)",
                           "(vector,[0]x-1)",
                           "(vector,[]x2)",
                           "(vector,[0,]x2)",
                           "(vector,[0x2)",
                           "(vector,0]x2)",
                           "(vector,[[0]x2]x2)",
                           "(vector,[(0,1,0)]x2)",
                           "(vector,[0]x2",
                           "(vector,[0]x2]x2)",
                           "(vector,[0]2)",
                           "(vector,[0]x2(0,1,1))",
                           "(vector,(0,1,1)x2)"}) {
    CAPTURE(text);
    CHECK_FALSE(read_process_mapping(text, 4));
  }
}

TEST_CASE("process mapping: huge numbers cost no more than the ranks there are") {
  CHECK(read_process_mapping("(vector,(0,4000000000,4000000000))", 5) == Nodes{0, 0, 0, 0, 0});
  CHECK(read_process_mapping("(vector,[(0,4000000000,4000000000),7]x4000000000)", 2) == Nodes{0, 0});
  CHECK(read_process_mapping("(vector,[0,1]x4294967295)", 3) == Nodes{0, 1, 0});
}

}  // namespace
}  // namespace wireup::wire
