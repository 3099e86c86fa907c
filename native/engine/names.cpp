#include "engine/names.h"

#include "engine/limits.h"

namespace wireup::engine {

void Names::leave(Owner owner) {
  std::erase_if(entries_, [owner](const auto& entry) { return entry.second.owner == owner; });
}

NameAnswer Names::execute(Owner owner, const NameRequest& request) {
  if (request.operation == NameOperation::publish) return {publish(owner, request)};
  if (request.operation == NameOperation::unpublish) return {unpublish(owner, request.service)};
  const auto entry = entries_.find(request.service);
  if (entry == entries_.end()) return {NameError::not_found};
  return {NameError::none, entry->second.port};
}

NameError Names::publish(Owner owner, const NameRequest& request) {
  if (entries_.contains(request.service)) return NameError::taken;
  if (entries_.size() >= kMaxNames) return NameError::full;
  entries_.emplace(request.service, Entry{owner, request.port});
  return NameError::none;
}

NameError Names::unpublish(Owner owner, const std::string& service) {
  const auto entry = entries_.find(service);
  if (entry == entries_.end() || entry->second.owner != owner) return NameError::not_found;
  entries_.erase(entry);
  return NameError::none;
}

}  // namespace wireup::engine
