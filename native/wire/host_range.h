// Hosts that may connect, as users name them: an address in digits, or all addresses that begin with the same
// bits (CIDR).
//
//   host-range = address / address "/" bits      ; "192.0.2.7", "10.0.0.0/8", "2001:db8::/32"
//
// IPv4 addresses and their v4-mapped IPv6 form (::ffff:192.0.2.7) are the same. Names are not hosts: what a
// name means is for others to say.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "wire/address.h"

namespace wireup::wire {

// In network order; IPv4 as v4-mapped.
using IpAddress = std::array<std::uint8_t, 16>;

// Empty for anything but an IPv4 or IPv6 address in digits; zones ("%eth0") are none.
std::optional<IpAddress> parse_ip(std::string_view text);

struct HostRange {
  IpAddress address{};
  unsigned bits = 128;  // of the 128 that must agree

  bool contains(const IpAddress& other) const;
};

struct ParsedHostRange {
  std::optional<HostRange> range;
  AddressError error;  // meaningful when range is empty
};

// What stands behind the first `bits` of the address does not matter.
ParsedHostRange parse_host_range(std::string_view text);

}  // namespace wireup::wire
