// The grammar of PMI_PORT addresses. The server, the clients, the tools and the command line share this
// parser.
//
//   pmi-port  = tcp-addr / unix-addr
//   tcp-addr  = ["tcp://"] host ":" port     ; host = name / IPv4 / "[" IPv6 "]"; no scheme means tcp
//   unix-addr = "unix://" path / "/" path    ; "unix://@name" is the abstract namespace
//
// The parser resolves no names and opens no sockets.
#pragma once

#include <array>
#include <cstddef>
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

// A new transport needs more than this: native/runtime/transport.h lists the places.
using Address = std::variant<TcpAddress, UnixAddress>;

// How a rank is connected: by an inherited fd, or by one of the alternatives of Address, in their order.
enum class Transport : std::uint8_t { inherited_fd, tcp, unix_socket };

// In the order of Transport. lib/transports.ts has the same names.
inline constexpr std::array<std::string_view, 1 + std::variant_size_v<Address>> kTransportNames{"fd", "tcp",
                                                                                                "unix"};

constexpr std::string_view name_of(Transport transport) {
  return kTransportNames.at(static_cast<std::size_t>(transport));
}

constexpr Transport transport_of(const Address& address) {
  return static_cast<Transport>(1 + address.index());
}

// sizeof(sockaddr_un::sun_path) - 1. A path needs one byte for its terminator, an abstract name one for its
// leading NUL.
inline constexpr std::size_t kMaxUnixPath = 107;

// Also the error of parse_host_range() (host_range.h).
struct AddressError {
  std::string part;    // the invalid part of the input, unchanged
  std::string reason;  // what the parser expected in its place
};

struct ParsedAddress {
  std::optional<Address> address;
  AddressError error;  // set only if `address` is empty
};

ParsedAddress parse_address(std::string_view text);

// The address with its scheme: "tcp://[::1]:5000", "unix:///run/x.sock", "unix://@name".
std::string to_uri(const Address& address);

// The value of PMI_PORT for a rank. A TCP address has no scheme, because MPICH takes everything before the
// first ':' for the host. An IPv6 address keeps its brackets; MPICH cannot parse it, wireup's clients can.
std::string to_pmi_port(const Address& address);

}  // namespace wireup::wire
