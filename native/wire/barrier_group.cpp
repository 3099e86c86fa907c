#include "wire/barrier_group.h"

#include <algorithm>
#include <charconv>

namespace wireup::wire {
namespace {

template <typename Number>
bool take_number(std::string_view& text, Number& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::vector<RankRange>> take_ranks(std::string_view& text) {
  std::vector<RankRange> ranges;
  do {
    RankRange range;
    if (!take_number(text, range.first)) return std::nullopt;
    range.last = range.first;
    if (take(text, '-') && !take_number(text, range.last)) return std::nullopt;
    if (range.last < range.first) return std::nullopt;
    ranges.push_back(range);
  } while (take(text, ','));
  std::ranges::sort(ranges);
  std::vector<RankRange> joined;
  for (const RankRange& range : ranges) {
    if (!joined.empty() && range.first <= std::uint64_t{joined.back().last} + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

}  // namespace

std::optional<BarrierGroup> parse_barrier_group(std::string_view text) {
  BarrierGroup group;
  const std::string_view name = text.substr(0, text.find(':'));
  if (name == "WORLD" || name == "NODE") {
    group.kind = name == "WORLD" ? BarrierGroup::Kind::world : BarrierGroup::Kind::node;
    text.remove_prefix(name.size());
  } else {
    auto ranks = take_ranks(text);
    if (!ranks) return std::nullopt;
    group.kind = BarrierGroup::Kind::ranks;
    group.ranks = *std::move(ranks);
  }
  if (take(text, ':') && !take_number(text, group.tag)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return group;
}

}  // namespace wireup::wire
