#include "os/inherited_limits.h"

#include <sys/resource.h>

#include <algorithm>

namespace wireup::os {

std::vector<std::pair<std::uint32_t, std::uint64_t>> soft_limits() {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> result;
  for (const auto resource : {RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_MEMLOCK,
                              RLIMIT_RSS, RLIMIT_STACK}) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) == 0)
      result.emplace_back(static_cast<std::uint32_t>(resource), limit.rlim_cur);
  }
  return result;
}

// -1 is a nice value too; without a bad argument, getpriority(2) has no error.
std::int32_t niceness() { return ::getpriority(PRIO_PROCESS, 0); }

void take_limits(const std::vector<std::pair<std::uint32_t, std::uint64_t>>& limits) {
  for (const auto& [number, value] : limits) {
    const auto resource = static_cast<__rlimit_resource_t>(number);
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0) continue;
    limit.rlim_cur = std::min<rlim_t>(value, limit.rlim_max);
    ::setrlimit(resource, &limit);
  }
}

void take_niceness(std::int32_t nice) {
  if (nice > niceness()) ::setpriority(PRIO_PROCESS, 0, nice);
}

}  // namespace wireup::os
