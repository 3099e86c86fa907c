// The PMI_PORT address grammar, one parser for server, client, tools and command line.
//
//   pmi-port  = tcp-addr / unix-addr
//   tcp-addr  = ["tcp://"] host ":" port     ; host = name / IPv4 / "[" IPv6 "]"; no scheme means tcp
//   unix-addr = "unix://" path / "/" path    ; "unix://@name" is the abstract namespace
//
// Nothing here resolves a name or touches a socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace wireup::wire {

struct TcpAddress {
  std::string host;  // without the brackets of an IPv6 address
  std::uint16_t port = 0;
  bool operator==(const TcpAddress&) const = default;
};

struct UnixAddress {
  std::string path;  // without the '@' of an abstract name
  bool abstract = false;
  bool operator==(const UnixAddress&) const = default;
};

using Address = std::variant<TcpAddress, UnixAddress>;

// sizeof(sockaddr_un::sun_path) - 1: a path needs its terminator, an abstract name its leading NUL.
inline constexpr std::size_t kMaxUnixPath = 107;

struct AddressError {
  std::string part;    // the offending part of the input, as it was given
  std::string reason;  // what was expected of it
};

struct ParsedAddress {
  std::optional<Address> address;
  AddressError error;  // meaningful when address is empty
};

ParsedAddress parse_address(std::string_view text);

// With its scheme: "tcp://[::1]:5000", "unix:///run/x.sock", "unix://@name".
std::string to_uri(const Address& address);

// What a rank is handed as PMI_PORT. MPICH cuts it at the first ':' and takes what stands before for a host
// name, so a TCP address is the bare "host:port" (IPv6 stays bracketed: only our own clients read it).
std::string to_pmi_port(const Address& address);

}  // namespace wireup::wire
