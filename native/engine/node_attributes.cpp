#include "engine/node_attributes.h"

namespace wireup::engine {

std::optional<std::vector<NodeAttributes::Waiter>> NodeAttributes::put(std::uint32_t node,
                                                                       std::string_view key,
                                                                       std::string_view value) {
  Name name(node, key);
  const auto old = values_.find(name);
  if (!(old == values_.end() ? share_.add(key, value) : share_.replace(old->second.size(), value)))
    return std::nullopt;
  values_.insert_or_assign(name, std::string(value));
  const auto entry = waiters_.find(name);
  if (entry == waiters_.end()) return std::vector<Waiter>();
  std::vector<Waiter> waiters = std::move(entry->second);
  waiters_.erase(entry);
  return waiters;
}

const std::string* NodeAttributes::get(std::uint32_t node, std::string_view key) const {
  const auto entry = values_.find(Name(node, key));
  return entry == values_.end() ? nullptr : &entry->second;
}

void NodeAttributes::wait(std::uint32_t node, std::string_view key, Waiter waiter) {
  waiters_[Name(node, key)].push_back(std::move(waiter));
}

void NodeAttributes::forget(ConnectionId connection) {
  for (auto entry = waiters_.begin(); entry != waiters_.end();) {
    std::erase_if(entry->second, [&](const Waiter& waiter) { return waiter.connection == connection; });
    entry = entry->second.empty() ? waiters_.erase(entry) : std::next(entry);
  }
}

}  // namespace wireup::engine
