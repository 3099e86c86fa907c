#include "engine/barrier.h"

#include <algorithm>

namespace wireup::engine {

Barrier::Barrier(std::uint32_t size, const std::vector<bool>& elsewhere)
    : elsewhere_(elsewhere),
      inside_(size, false),
      absent_(elsewhere.empty() ? 0 : size, false),
      here_(size - static_cast<std::uint32_t>(std::ranges::count(elsewhere, true))) {}

Barrier::Entry Barrier::enter(std::uint32_t rank) {
  if (inside_[rank]) return Entry::twice;
  if (is_absent(rank)) {
    absent_[rank] = false;
    if (!held_) return Entry::missed;
  }
  inside_[rank] = true;
  ++waiting_;
  return held_ || waiting_ < here_ ? Entry::waiting : Entry::complete;
}

bool Barrier::leave(std::uint32_t rank) {
  if (!inside_[rank]) return false;
  inside_[rank] = false;
  --waiting_;
  if (held_) absent_[rank] = true;
  return true;
}

void Barrier::finish() {
  inside_.assign(inside_.size(), false);
  waiting_ = 0;
  held_ = false;
  ++number_;
}

BarrierStatus Barrier::status() const {
  BarrierStatus status;
  status.number = number_;
  if (waiting_ == 0 && !held_) return status;
  for (std::uint32_t rank = 0; rank < inside_.size(); ++rank) {
    if (!elsewhere_.empty() && elsewhere_[rank]) continue;
    (inside_[rank] || held_ ? status.inside : status.missing).push_back(rank);
  }
  return status;
}

GroupBarriers::Key GroupBarriers::key_of(std::uint32_t rank, const wire::BarrierGroup& group) const {
  const bool of_node = group.kind == wire::BarrierGroup::Kind::node;
  return {group.kind, of_node ? layout_.place(rank).node : 0, group.tag, group.ranks};
}

bool GroupBarriers::contains(const Key& key, std::uint32_t rank) const {
  switch (key.kind) {
    case wire::BarrierGroup::Kind::world:
      return true;
    case wire::BarrierGroup::Kind::node:
      return layout_.place(rank).node == key.node;
    case wire::BarrierGroup::Kind::ranks:
      break;
  }
  const auto range = std::ranges::lower_bound(key.ranks, rank, {}, &wire::RankRange::last);
  return range != key.ranks.end() && range->first <= rank;
}

std::size_t GroupBarriers::size(const Key& key, std::uint32_t member) const {
  switch (key.kind) {
    case wire::BarrierGroup::Kind::world:
      return layout_.size();
    case wire::BarrierGroup::Kind::node:
      return layout_.local_size(member);
    case wire::BarrierGroup::Kind::ranks:
      break;
  }
  std::size_t sum = 0;
  for (const wire::RankRange& range : key.ranks) sum += range.last - range.first + 1;
  return sum;
}

std::optional<std::uint32_t> GroupBarriers::first_gone(const Key& key) const {
  if (key.kind != wire::BarrierGroup::Kind::ranks) {
    const auto found = std::ranges::find_if(gone_, [&](std::uint32_t rank) { return contains(key, rank); });
    return found == gone_.end() ? std::nullopt : std::optional(*found);
  }
  for (const wire::RankRange& range : key.ranks) {
    const auto found = gone_.lower_bound(range.first);
    if (found != gone_.end() && *found <= range.last) return *found;
  }
  return std::nullopt;
}

GroupBarriers::Result GroupBarriers::enter(std::uint32_t rank, const wire::BarrierGroup& group,
                                           std::uint64_t query) {
  if (!group.ranks.empty() && group.ranks.back().last >= layout_.size()) return {Entry::unknown_rank};
  Key key = key_of(rank, group);
  if (!contains(key, rank)) return {Entry::not_member};
  if (const auto gone = first_gone(key)) return {Entry::failed, {}, *gone};
  const std::size_t all = size(key, rank);
  const auto entry = open_.try_emplace(std::move(key)).first;
  Inside& inside = entry->second;
  if (!inside.try_emplace(rank, query).second) return {Entry::twice};
  if (inside.size() < all) return {Entry::waiting};
  Result result{Entry::complete};
  for (const auto& [member, its_query] : inside) result.released.push_back({member, its_query});
  open_.erase(entry);
  return result;
}

std::vector<GroupBarriers::Failed> GroupBarriers::depart(std::uint32_t rank) {
  gone_.insert(rank);
  std::vector<Failed> failed;
  for (auto entry = open_.begin(); entry != open_.end();) {
    const auto& [key, inside] = *entry;
    if (!contains(key, rank)) {
      ++entry;
      continue;
    }
    for (const auto& [waiting, query] : inside) {
      if (waiting != rank) failed.push_back({{waiting, query}, key.tag});
    }
    entry = open_.erase(entry);
  }
  return failed;
}

std::vector<GroupBarrierStatus> GroupBarriers::status(std::size_t most) const {
  std::vector<GroupBarrierStatus> result;
  for (const auto& [key, inside] : open_) {
    if (result.size() == most) break;
    GroupBarrierStatus& barrier = result.emplace_back();
    barrier.tag = key.tag;
    for (std::uint32_t rank = 0; rank < layout_.size(); ++rank) {
      if (!contains(key, rank)) continue;
      (inside.contains(rank) ? barrier.inside : barrier.missing).push_back(rank);
    }
  }
  return result;
}

void GroupBarriers::leave(std::uint32_t rank) {
  for (auto entry = open_.begin(); entry != open_.end();) {
    entry->second.erase(rank);
    entry = entry->second.empty() ? open_.erase(entry) : std::next(entry);
  }
}

void GroupBarriers::leave(std::uint32_t rank, const wire::BarrierGroup& group) {
  const auto entry = open_.find(key_of(rank, group));
  if (entry == open_.end()) return;
  entry->second.erase(rank);
  if (entry->second.empty()) open_.erase(entry);
}

}  // namespace wireup::engine
