#include "wire/host_range.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

namespace wireup::wire {
namespace {

constexpr std::size_t kIpv4Bytes = 4;
constexpr std::size_t kMappedPrefix = 12;
constexpr unsigned kMappedBits = 96;
constexpr std::size_t kGroups = 8;

// Refuses signs, and leading zeros, because some programs read those as octal.
std::optional<unsigned> parse_decimal(std::string_view text, unsigned max) {
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value > max) return std::nullopt;
  return value;
}

std::optional<std::array<std::uint8_t, kIpv4Bytes>> parse_ipv4(std::string_view text) {
  std::array<std::uint8_t, kIpv4Bytes> bytes{};
  for (std::size_t i = 0; i < kIpv4Bytes; ++i) {
    const std::size_t dot = i + 1 < kIpv4Bytes ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const auto value = parse_decimal(text.substr(0, dot), 255);
    if (!value) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(*value);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return bytes;
}

// Parses the groups on one side of "::". If `last` is set, the last part may be an IPv4 address, which counts
// as two groups.
std::optional<std::vector<std::uint16_t>> parse_groups(std::string_view text, bool last) {
  std::vector<std::uint16_t> groups;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view part = text.substr(0, colon);
    if (last && colon == std::string_view::npos && part.find('.') != std::string_view::npos) {
      const auto ipv4 = parse_ipv4(part);
      if (!ipv4) return std::nullopt;
      groups.push_back(static_cast<std::uint16_t>((*ipv4)[0] << 8 | (*ipv4)[1]));
      groups.push_back(static_cast<std::uint16_t>((*ipv4)[2] << 8 | (*ipv4)[3]));
      return groups;
    }
    std::uint16_t group = 0;
    const auto [stop, error] = std::from_chars(part.data(), part.data() + part.size(), group, 16);
    if (part.empty() || part.size() > 4 || error != std::errc() || stop != part.data() + part.size()) {
      return std::nullopt;
    }
    groups.push_back(group);
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;  // a lone ':' at the end
  }
  return groups;
}

std::optional<IpAddress> parse_ipv6(std::string_view text) {
  const std::size_t gap = text.find("::");
  const bool has_gap = gap != std::string_view::npos;
  const auto head = parse_groups(text.substr(0, has_gap ? gap : text.size()), !has_gap);
  const auto tail = parse_groups(has_gap ? text.substr(gap + 2) : std::string_view(), true);
  if (!head || !tail) return std::nullopt;
  const std::size_t given = head->size() + tail->size();
  if (has_gap ? given >= kGroups : given != kGroups) return std::nullopt;
  IpAddress address{};
  const auto put = [&](std::size_t at, std::uint16_t group) {
    address[2 * at] = static_cast<std::uint8_t>(group >> 8);
    address[2 * at + 1] = static_cast<std::uint8_t>(group & 0xff);
  };
  for (std::size_t i = 0; i < head->size(); ++i) put(i, (*head)[i]);
  for (std::size_t i = 0; i < tail->size(); ++i) put(kGroups - tail->size() + i, (*tail)[i]);
  return address;
}

ParsedHostRange refuse(std::string_view part, std::string reason) {
  return {std::nullopt, {std::string(part), std::move(reason)}};
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return parse_ipv6(text);
  const auto ipv4 = parse_ipv4(text);
  if (!ipv4) return std::nullopt;
  IpAddress address{};
  address[10] = 0xff;
  address[11] = 0xff;
  std::ranges::copy(*ipv4, address.begin() + kMappedPrefix);
  return address;
}

bool HostRange::contains(const IpAddress& other) const {
  const std::size_t bytes = bits / 8;
  if (!std::equal(address.begin(), address.begin() + bytes, other.begin())) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || (address[bytes] ^ other[bytes]) >> (8 - rest) == 0;
}

ParsedHostRange parse_host_range(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const auto address = parse_ip(host);
  if (!address) return refuse(host, "expected an IPv4 or IPv6 address in digits, as in \"192.0.2.7\"");
  if (slash == std::string_view::npos) return {HostRange{*address, 128}, {}};
  const bool ipv6 = host.find(':') != std::string_view::npos;
  const std::string_view bits = text.substr(slash + 1);
  const auto count = parse_decimal(bits, ipv6 ? 128 : 32);
  if (!count) {
    return refuse(bits, std::string("expected a count of bits from 0 to ") + (ipv6 ? "128" : "32"));
  }
  return {HostRange{*address, ipv6 ? *count : *count + kMappedBits}, {}};
}

}  // namespace wireup::wire
