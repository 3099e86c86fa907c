#include "os/name_lookup.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "os/error.h"
#include "os/thread.h"

namespace wireup::os {
namespace {

// More would be a burden for the resolver of the site.
constexpr std::size_t kMaxLookups = 8;

NameLookup look_up(const std::string& name, std::uint16_t port, Resolve resolve) {
  try {
    return {resolve(name, port), 0, {}};
  } catch (const OsError& error) {
    return {{}, error.code().value(), error.subject()};
  }
}

// What the threads of one call share with it. The last of them to end frees it.
class Lookups {
 public:
  Lookups(std::vector<std::string> names, std::uint16_t port, Resolve resolve)
      : names_(std::move(names)), port_(port), resolve_(resolve) {
    for (const std::string& name : names_)
      results_.push_back({{}, ETIMEDOUT, name + ": the look-up of the name takes too long"});
  }

  // Looks up names until none is left.
  void work() {
    for (std::size_t i = take(); i < names_.size(); i = take()) {
      NameLookup result = look_up(names_[i], port_, resolve_);
      const std::lock_guard lock(mutex_);
      results_[i] = std::move(result);
      if (++done_ == names_.size()) all_done_.set_value();
    }
  }

  // Waits until all names are looked up or the deadline has passed. Then no other look-up begins.
  std::vector<NameLookup> results(std::chrono::steady_clock::time_point deadline) {
    all_done_.get_future().wait_until(deadline);
    const std::lock_guard lock(mutex_);
    next_ = names_.size();
    return results_;
  }

 private:
  std::size_t take() {
    const std::lock_guard lock(mutex_);
    return next_ < names_.size() ? next_++ : names_.size();
  }

  const std::vector<std::string> names_;
  const std::uint16_t port_;
  const Resolve resolve_;
  std::promise<void> all_done_;
  std::mutex mutex_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  std::vector<NameLookup> results_;
};

class OwnAddresses {
 public:
  OwnAddresses() {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) < 0) throw OsError::last("getifaddrs");
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr != nullptr) bytes_.push_back(bytes_of(*entry->ifa_addr));
    }
  }

  bool has(const SocketAddress& address) const {
    const std::string bytes = bytes_of(*address.raw());
    // The whole network 127.0.0.0/8 is this host.
    const bool is_loopback =
        (bytes.size() == sizeof(in_addr) && bytes.front() == IN_LOOPBACKNET) ||
        bytes == std::string(reinterpret_cast<const char*>(&in6addr_loopback), sizeof(in6_addr));
    return is_loopback || std::ranges::find(bytes_, bytes) != bytes_.end();
  }

 private:
  // Empty if it is neither an IPv4 nor an IPv6 address.
  static std::string bytes_of(const sockaddr& address) {
    const auto text = [](const auto& field) {
      return std::string(reinterpret_cast<const char*>(&field), sizeof field);
    };
    if (address.sa_family == AF_INET) return text(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
    if (address.sa_family == AF_INET6) return text(reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
    return {};
  }

  std::vector<std::string> bytes_;
};

}  // namespace

std::vector<NameLookup> look_up_names(const std::vector<std::string>& names, std::uint16_t port,
                                      std::chrono::steady_clock::time_point deadline, Resolve resolve) {
  std::vector<NameLookup> results(names.size());
  std::vector<std::size_t> unknown;  // indices of the names that are no addresses
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (auto address = SocketAddress::numeric(names[i], port)) {
      results[i].addresses.push_back(*address);
    } else {
      unknown.push_back(i);
    }
  }
  if (unknown.empty()) return results;
  std::vector<std::string> left;
  left.reserve(unknown.size());
  for (const std::size_t i : unknown) left.push_back(names[i]);
  const auto lookups = std::make_shared<Lookups>(std::move(left), port, resolve);
  for (std::size_t i = 0; i < std::min(unknown.size(), kMaxLookups); ++i) {
    try {
      start_thread("wireup-resolve", [lookups] { lookups->work(); }).detach();
    } catch (const std::system_error&) {
      // The threads that run take all names.
      if (i == 0) throw;
      break;
    }
  }
  std::vector<NameLookup> found = lookups->results(deadline);
  for (std::size_t i = 0; i < unknown.size(); ++i) results[unknown[i]] = std::move(found[i]);
  return results;
}

std::vector<bool> find_own_names(const std::vector<std::string>& names,
                                 std::chrono::steady_clock::time_point deadline, Resolve resolve) {
  const OwnAddresses own;
  std::vector<bool> result;
  for (const NameLookup& found : look_up_names(names, 0, deadline, resolve)) {
    const bool all = std::ranges::all_of(found.addresses,
                                         [&own](const SocketAddress& address) { return own.has(address); });
    result.push_back(!found.addresses.empty() && all);
  }
  return result;
}

}  // namespace wireup::os
