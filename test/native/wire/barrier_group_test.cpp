#include "wire/barrier_group.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

std::string text_of(const std::optional<BarrierGroup>& group) {
  if (!group) return "none";
  std::string text = group->kind == BarrierGroup::Kind::world  ? "world"
                     : group->kind == BarrierGroup::Kind::node ? "node"
                                                               : "";
  for (const RankRange& range : group->ranks) {
    text += "[" + std::to_string(range.first) + "," + std::to_string(range.last) + "]";
  }
  return text + ":" + std::to_string(group->tag);
}

TEST_CASE("barrier group: valid and invalid texts") {
  const struct {
    std::string_view text;
    std::string_view group;
  } rows[] = {
      {"WORLD", "world:0"},
      {"WORLD:7", "world:7"},
      {"NODE:2147483647", "node:2147483647"},
      {"3", "[3,3]:0"},
      {"0,2,4:5", "[0,0][2,2][4,4]:5"},
      {"0,2-4", "[0,0][2,4]:0"},
      {"4,3,2,0,2", "[0,0][2,4]:0"},
      {"0-5,2-3,6", "[0,6]:0"},
      {"0-4294967295,4294967295", "[0,4294967295]:0"},
      {"5-5:-1", "[5,5]:-1"},
      {"", "none"},
      {":1", "none"},
      {"WORLD:", "none"},
      {"WORLD:x", "none"},
      {"WORLD:1:2", "none"},
      {"WORLDS", "none"},
      {"world", "none"},
      {"NODE,1", "none"},
      {"1,", "none"},
      {",1", "none"},
      {"1-", "none"},
      {"4-2", "none"},
      {"-1", "none"},
      {"1 ,2", "none"},
      {"4294967296", "none"},
      {"1:2147483648", "none"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(text_of(parse_barrier_group(row.text)) == row.group);
  }
}

}  // namespace
}  // namespace wireup::wire
