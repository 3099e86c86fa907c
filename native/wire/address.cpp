#include "wire/address.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace wireup::wire {
namespace {

constexpr std::string_view kTcpScheme = "tcp://";
constexpr std::string_view kUnixScheme = "unix://";

ParsedAddress fail(std::string_view part, std::string reason) {
  return {std::nullopt, {std::string(part), std::move(reason)}};
}

ParsedAddress parse_unix(std::string_view path) {
  const bool abstract = path.starts_with('@');
  const std::string_view name = abstract ? path.substr(1) : path;
  if (name.empty()) {
    return fail(path, abstract ? "expected a name after '@'" : "expected a path, or '@' and a name");
  }
  if (name.find('\0') != std::string_view::npos) return fail(path, "expected a path without NUL bytes");
  if (name.size() > kMaxUnixPath) {
    return fail(path, "expected at most " + std::to_string(kMaxUnixPath) + " bytes, got " +
                          std::to_string(name.size()));
  }
  return {UnixAddress{std::string(name), abstract}, {}};
}

bool is_host_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte != 0x7f && std::string_view("/@[]").find(c) == std::string_view::npos;
}

// Accepts digits, colons, an IPv4 tail, and a zone after '%' (fe80::1%eth0). It does not check the number of
// groups.
bool is_ipv6_shape(std::string_view host) {
  const std::string_view digits = host.substr(0, host.find('%'));
  return digits.find(':') != std::string_view::npos &&
         digits.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
         std::ranges::all_of(host, is_host_byte);
}

ParsedAddress with_port(std::string_view host, std::string_view port_text) {
  if (port_text.empty()) return fail(port_text, "expected a port after the host, as in \"host:port\"");
  std::uint16_t port = 0;
  const char* end = port_text.data() + port_text.size();
  const auto [stop, error] = std::from_chars(port_text.data(), end, port);
  if (error != std::errc() || stop != end) return fail(port_text, "expected a port from 0 to 65535");
  return {TcpAddress{std::string(host), port}, {}};
}

ParsedAddress parse_bracketed(std::string_view text) {
  const std::size_t close = text.find(']');
  if (close == std::string_view::npos) return fail(text, "expected ']' after an IPv6 address");
  const std::string_view host = text.substr(1, close - 1);
  const std::string_view rest = text.substr(close + 1);
  if (host.empty()) return fail(text, "expected an IPv6 address between '[' and ']'");
  if (!is_ipv6_shape(host)) return fail(host, "expected an IPv6 address between '[' and ']'");
  if (rest.empty()) return fail(text, "expected a port after the host, as in \"[::1]:port\"");
  if (!rest.starts_with(':')) return fail(rest, "expected ':' and a port after ']'");
  return with_port(host, rest.substr(1));
}

ParsedAddress parse_tcp(std::string_view text) {
  if (text.starts_with('[')) return parse_bracketed(text);
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return fail(text, text.empty() ? "expected \"host:port\""
                                   : "expected a port after the host, as in \"host:port\"");
  }
  const std::string_view host = text.substr(0, colon);
  const std::string_view rest = text.substr(colon + 1);
  if (rest.find(':') != std::string_view::npos) {
    return fail(text, "expected brackets around an IPv6 address, as in \"[::1]:port\"");
  }
  if (host.empty()) return fail(text, "expected a host before ':'");
  if (!std::ranges::all_of(host, is_host_byte)) return fail(host, "expected a host name or an IPv4 address");
  return with_port(host, rest);
}

}  // namespace

ParsedAddress parse_address(std::string_view text) {
  if (text.empty()) return fail(text, "expected \"host:port\", \"unix://path\" or a path");
  if (text.starts_with('/')) return parse_unix(text);
  if (text.starts_with(kUnixScheme)) return parse_unix(text.substr(kUnixScheme.size()));
  if (text.starts_with(kTcpScheme)) return parse_tcp(text.substr(kTcpScheme.size()));
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    return fail(text.substr(0, scheme + 3), "expected the scheme tcp:// or unix://");
  }
  return parse_tcp(text);
}

std::string to_pmi_port(const Address& address) {
  if (const auto* tcp = std::get_if<TcpAddress>(&address)) {
    const std::string port = std::to_string(tcp->port);
    const bool ipv6 = tcp->host.find(':') != std::string::npos;
    return ipv6 ? "[" + tcp->host + "]:" + port : tcp->host + ":" + port;
  }
  const auto& local = std::get<UnixAddress>(address);
  return std::string(kUnixScheme) + (local.abstract ? "@" : "") + local.path;
}

std::string to_uri(const Address& address) {
  const bool tcp = std::holds_alternative<TcpAddress>(address);
  return (tcp ? std::string(kTcpScheme) : std::string()) + to_pmi_port(address);
}

}  // namespace wireup::wire
