#include "runtime/listen_addresses.h"

#include <algorithm>
#include <stdexcept>

#include "wire/boot_record.h"
#include "wire/host_range.h"

namespace wireup::runtime {

std::vector<std::string> choose_addresses(const std::vector<os::InterfaceAddress>& all,
                                          const std::string& iface) {
  const auto range = wire::parse_host_range(iface).range;
  const bool only_loopback =
      std::ranges::all_of(all, [](const os::InterfaceAddress& entry) { return entry.is_loopback; });
  const auto is_chosen = [&](const os::InterfaceAddress& entry) {
    if (iface.empty()) return only_loopback || !entry.is_loopback;
    if (!range) return entry.name == iface;
    const auto ip = wire::parse_ip(entry.address);
    return ip && range->contains(*ip);
  };
  std::vector<std::string> result;
  for (const os::InterfaceAddress& entry : all) {
    if (!is_chosen(entry) || result.size() == wire::boot::kMaxEndpoints) continue;
    const bool is_ipv6 = entry.address.find(':') != std::string::npos;
    result.push_back(is_ipv6 ? "[" + entry.address + "]" : entry.address);
  }
  return result;
}

std::vector<std::string> listen_addresses(const std::string& iface) {
  std::vector<std::string> result = choose_addresses(os::interface_addresses(), iface);
  if (result.empty())
    throw std::runtime_error(iface.empty() ? "the host has no network address"
                                           : "the host has no network interface or address " + iface);
  return result;
}

}  // namespace wireup::runtime
