#include "tools/client/connection.h"

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "os/error.h"
#include "os/name_lookup.h"
#include "os/socket_address.h"
#include "runtime/addresses.h"
#include "runtime/server_identity.h"
#include "tools/client/failure.h"
#include "wire/address.h"

namespace wireup::client {
namespace {

std::vector<os::SocketAddress> candidates(const wire::Address& address, const Deadline& deadline) {
  if (const auto* tcp = std::get_if<wire::TcpAddress>(&address)) {
    os::NameLookup found = os::look_up_names({tcp->host}, tcp->port, deadline.at()).front();
    if (found.addresses.empty()) throw os::OsError(found.error, "getaddrinfo", found.subject);
    return std::move(found.addresses);
  }
  return {runtime::to_socket_address(address)};
}

os::UniqueFd connect_to_any(const std::vector<os::SocketAddress>& addresses, const Deadline& deadline) {
  std::optional<os::OsError> failure;
  for (const os::SocketAddress& address : addresses) {
    try {
      return os::connect_blocking(address, deadline.left_ms());
    } catch (const os::OsError& error) {
      failure = error;
    }
  }
  throw failure.value_or(os::OsError(ENXIO, "connect"));
}

}  // namespace

Connection connect_to_server(const std::string& pmi_port, const Deadline& deadline) {
  const wire::ParsedAddress parsed = wire::parse_address(pmi_port);
  if (!parsed.address) {
    throw Failure("PMI_PORT is \"" + pmi_port + "\", no address of a PMI server: " + parsed.error.reason);
  }
  Connection connection;
  connection.address = wire::to_uri(*parsed.address);
  try {
    connection.socket = connect_to_any(candidates(*parsed.address, deadline), deadline);
  } catch (const os::OsError& error) {
    // For getaddrinfo the subject contains the resolver's message. For other calls it only repeats the
    // address.
    const std::string why = error.syscall() == "getaddrinfo" ? error.subject() : error.code().message();
    throw Failure("cannot connect to the PMI server at " + connection.address + ": " + why +
                  "; does the launcher still run, and is that address reachable from here?");
  }
  if (const std::string reason = runtime::why_not_trusted(connection.socket.get()); !reason.empty()) {
    throw Failure("the server at " + connection.address + " is not trusted: " + reason +
                  "; PMI_ID was not sent. Start the job again");
  }
  return connection;
}

}  // namespace wireup::client
