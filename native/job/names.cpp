#include "job/names.h"

#include "job/limits.h"

namespace wireup::job {

void Names::leave(Owner owner) {
  std::erase_if(entries_, [owner](const auto& entry) { return entry.second.owner == owner; });
}

NameAnswer Names::carry_out(Owner owner, const NameRequest& request) {
  if (request.operation == NameOperation::publish) return {publish(owner, request)};
  if (request.operation == NameOperation::unpublish) return {unpublish(owner, request.service)};
  const auto entry = entries_.find(request.service);
  if (entry == entries_.end()) return {NameFault::not_found};
  return {NameFault::none, entry->second.port};
}

NameFault Names::publish(Owner owner, const NameRequest& request) {
  if (entries_.contains(request.service)) return NameFault::taken;
  if (entries_.size() >= kMaxNames) return NameFault::full;
  entries_.emplace(request.service, Entry{owner, request.port});
  return NameFault::none;
}

NameFault Names::unpublish(Owner owner, const std::string& service) {
  const auto entry = entries_.find(service);
  if (entry == entries_.end() || entry->second.owner != owner) return NameFault::not_found;
  entries_.erase(entry);
  return NameFault::none;
}

}  // namespace wireup::job
