// A set of hosts that may connect: one IP address, or all addresses with the same leading bits (CIDR).
//
//   host-range = address / address "/" bits      ; "192.0.2.7", "10.0.0.0/8", "2001:db8::/32"
//
// An IPv4 address equals its v4-mapped IPv6 form (::ffff:192.0.2.7). Host names are not accepted: this layer
// does no I/O and cannot resolve them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "wire/address.h"

namespace wireup::wire {

// In network byte order. An IPv4 address is stored in its v4-mapped form.
using IpAddress = std::array<std::uint8_t, 16>;

// Returns nothing if `text` is not a numeric IPv4 or IPv6 address. An address with a zone ("%eth0") is not
// accepted.
std::optional<IpAddress> parse_ip(std::string_view text);

struct HostRange {
  IpAddress address{};
  unsigned bits = 128;  // how many leading bits must be equal; IPv4: 96 + its own count

  bool contains(const IpAddress& other) const;
};

struct ParsedHostRange {
  std::optional<HostRange> range;
  AddressError error;  // set only if `range` is empty
};

// Address bits after the first `bits` are ignored.
ParsedHostRange parse_host_range(std::string_view text);

}  // namespace wireup::wire
