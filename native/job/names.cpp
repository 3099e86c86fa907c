#include "job/names.h"

namespace wireup::job {

void Names::leave(Owner owner) {
  std::erase_if(entries_, [owner](const auto& entry) { return entry.second.owner == owner; });
}

bool Names::publish(Owner owner, std::string_view service, std::string_view port) {
  return entries_.try_emplace(std::string(service), Entry{owner, std::string(port)}).second;
}

bool Names::unpublish(Owner owner, std::string_view service) {
  const auto entry = entries_.find(service);
  if (entry == entries_.end() || entry->second.owner != owner) return false;
  entries_.erase(entry);
  return true;
}

const std::string* Names::lookup(std::string_view service) const {
  const auto entry = entries_.find(service);
  return entry == entries_.end() ? nullptr : &entry->second.port;
}

}  // namespace wireup::job
