#include "engine/exchange.h"

#include <algorithm>
#include <utility>

#include "engine/kvs.h"
#include "wire/key_values.h"

namespace wireup::engine {

Exchange::Exchange(bool local, const std::vector<Child>& children, bool parent, std::uint64_t limit)
    : limit_(limit), has_local_(local), has_parent_(parent) {
  for (const Child child : children) children_.try_emplace(child);
  missing_ = children_.size() + (local ? 1 : 0);
}

std::string Exchange::local_fence(std::uint64_t number, std::string keys) {
  if (!has_local_) return "a fence of this host, which has no ranks";
  // The keys are not checked: they are what ranks have put, within their own limit.
  if (std::string error = check(local_, number); !error.empty()) return error;
  local_.keys = std::move(keys);
  local_.whole = true;
  --missing_;
  advance();
  return {};
}

std::string Exchange::child_fence(Child child, std::uint64_t number, std::string_view keys, bool last) {
  const auto entry = children_.find(child);
  if (entry == children_.end()) return "a fence of a child without ranks";
  if (std::string error = add(entry->second, number, keys, last); !error.empty()) return error;
  if (!last) return {};
  --missing_;
  advance();
  return {};
}

std::string Exchange::parent_release(std::uint64_t number, std::string_view keys, bool last) {
  if (!has_parent_) return "a release, but all ranks are in this part of the tree";
  if (missing_ > 0)
    return "a release of barrier " + std::to_string(number) + ", which not all ranks have entered";
  if (std::string error = add(parent_, number, keys, last); !error.empty()) return error;
  if (last) complete();
  return {};
}

std::string Exchange::check(const Part& part, std::uint64_t number) const {
  if (number != number_) {
    return "barrier " + std::to_string(number) + ", but the current one is " + std::to_string(number_);
  }
  return part.whole ? "a second time barrier " + std::to_string(number) : "";
}

std::string Exchange::add(Part& part, std::uint64_t number, std::string_view keys, bool last) const {
  if (std::string error = check(part, number); !error.empty()) return error;
  if (keys.size() > limit_ - part.keys.size())
    return "more than " + std::to_string(limit_) + " bytes of keys and values for one barrier";
  if (std::string error = check_entries(keys); !error.empty()) return error;
  part.keys += keys;
  part.whole = last;
  return {};
}

// A fence has become whole.
void Exchange::advance() {
  if (missing_ > 0) return;
  if (!has_parent_) {
    completed_ = number_;
    return complete();
  }
  up_ = Up{number_, all_keys()};
}

void Exchange::complete() {
  const auto all = std::make_shared<const std::string>(all_keys());
  std::size_t begin = local_.keys.size();
  for (const auto& [child, part] : children_) {
    down_.push_back({child, number_, OtherKeys(all, begin, part.keys.size())});
    begin += part.keys.size();
  }
  if (has_local_) to_local_ = Local{number_, OtherKeys(all, 0, local_.keys.size()).text()};
  for (auto& [child, part] : children_) part = {};
  local_ = {};
  parent_ = {};
  missing_ = children_.size() + (has_local_ ? 1 : 0);
  ++number_;
}

template <typename Visit>
void Exchange::each_part(Visit visit) const {
  visit(local_);
  for (const auto& [child, part] : children_) visit(part);
  visit(parent_);
}

std::string Exchange::all_keys() const {
  std::size_t size = 0;
  each_part([&](const Part& part) { size += part.keys.size(); });
  std::string keys;
  keys.reserve(size);
  each_part([&](const Part& part) { keys += part.keys; });
  return keys;
}

std::optional<Exchange::Up> Exchange::take_up() { return std::exchange(up_, std::nullopt); }

std::vector<Exchange::Down> Exchange::take_down() { return std::exchange(down_, {}); }

std::optional<Exchange::Local> Exchange::take_local() { return std::exchange(to_local_, std::nullopt); }

std::optional<std::uint64_t> Exchange::take_completed() { return std::exchange(completed_, std::nullopt); }

Exchange::Missing Exchange::missing() const {
  Missing result;
  result.local = has_local_ && !local_.whole;
  for (const auto& [child, part] : children_) {
    if (!part.whole) result.children.push_back(child);
  }
  result.parent = has_parent_ && missing_ == 0;
  return result;
}

std::string_view take_part(std::string_view& keys, std::size_t most) {
  std::size_t size = 0;
  wire::KeyValueReader reader(keys);
  while (const auto entry = reader.next()) {
    const std::string_view value = entry->second;
    const auto end = static_cast<std::size_t>(value.data() + value.size() - keys.data());
    if (size > 0 && end > most) break;
    size = end;
  }
  const std::string_view part = keys.substr(0, size);
  keys.remove_prefix(size);
  return part;
}

std::string OtherParts::next(std::size_t most) {
  std::string part(take_part(before_, most));
  if (!before_.empty() || after_.empty()) return part;
  std::string_view rest = after_;
  const std::string_view more = take_part(rest, most - std::min(most, part.size()));
  // take_part() returns one entry at least.
  if (!part.empty() && part.size() + more.size() > most) return part;
  after_ = rest;
  part += more;
  return part;
}

}  // namespace wireup::engine
