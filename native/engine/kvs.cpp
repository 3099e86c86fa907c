#include "engine/kvs.h"

namespace wireup::engine {

bool Kvs::put(std::string_view key, std::string_view value) {
  if (const auto entry = entries_.find(key); entry != entries_.end()) {
    if (!share_.replace(entry->second.size(), value)) return false;
    // A new string, because an assignment would keep the memory of a longer value.
    entry->second = std::string(value);
    return true;
  }
  if (!share_.add(key, value)) return false;
  entries_.emplace(key, value);
  return true;
}

void Kvs::preput(std::string_view key, std::string_view value) {
  share_.force(key, value);
  entries_.insert_or_assign(std::string(key), std::string(value));
}

const std::string* Kvs::get(std::string_view key) const {
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? nullptr : &entry->second;
}

}  // namespace wireup::engine
