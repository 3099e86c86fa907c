#include "job/kvs.h"

namespace wireup::job {

void Kvs::put(std::string_view key, std::string_view value) {
  if (const auto entry = entries_.find(key); entry != entries_.end()) {
    entry->second.assign(value);
  } else {
    entries_.emplace(key, value);
  }
}

const std::string* Kvs::get(std::string_view key) const {
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? nullptr : &entry->second;
}

}  // namespace wireup::job
