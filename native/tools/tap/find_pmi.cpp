#include "tools/tap/find_pmi.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "os/error.h"
#include "runtime/rank_environment.h"
#include "tools/client/connection.h"
#include "tools/client/deadline.h"
#include "tools/client/failure.h"
#include "tools/exec/handshake.h"
#include "wire/address.h"

namespace wireup::tap {
namespace {

// As in wireup-exec.
constexpr std::chrono::seconds kTimeout{10};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The number; -1 if `text` is none.
int to_number(const std::string& text) {
  int number = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size() && number >= 0 ? number : -1;
}

bool is_stream_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

Found inherited(const std::string& text) {
  const int fd = to_number(text);
  if (fd < 0) return {{}, "PMI_FD is \"" + text + "\", which is no descriptor", true};
  if (!is_stream_socket(fd)) return {{}, "PMI_FD is " + text + ", which is no open socket", true};
  PmiConnection connection;
  // Another number, because the program's end of the connection takes this one.
  connection.server = os::duplicate(fd);
  connection.program_fd = fd;
  connection.transport = wire::name_of(wire::Transport::inherited_fd);
  connection.rank = variable("PMI_RANK");
  connection.size = variable("PMI_SIZE");
  return {std::move(connection)};
}

// Whether PMI_RANK and PMI_SIZE are those of the launcher that has set PMI_ID. Hydra sets neither beside
// PMI_PORT and passes on those of a launcher around it. Its PMI_IDs are ranks, those of wireup are random.
bool knows_place(const std::string& id, const std::string& rank, const std::string& size) {
  constexpr int kMoreThanRanks = 1 << 20;
  const int number = to_number(rank);
  const int id_number = to_number(id);
  const bool is_rank = id_number >= 0 && id_number < kMoreThanRanks;
  return !is_rank && number >= 0 && number < to_number(size);
}

Found by_port(const std::string& port) {
  const std::string id = variable("PMI_ID");
  if (id.empty()) return {{}, "PMI_PORT is set, but PMI_ID is not", true};
  PmiConnection found;
  found.port = port;
  found.id = id;
  found.program_fd = runtime::kChannelFd;
  found.unset = {"PMI_PORT", "PMI_ID"};
  const std::string rank = variable("PMI_RANK");
  const std::string size = variable("PMI_SIZE");
  const wire::ParsedAddress parsed = wire::parse_address(port);
  if (parsed.address) found.transport = wire::name_of(wire::transport_of(*parsed.address));
  if (parsed.address && knows_place(id, rank, size)) {
    found.rank = rank;
    found.size = size;
    return {std::move(found)};
  }
  try {
    const exec::Identity identity = connect(found);
    found.rank = std::to_string(identity.rank);
    found.size = std::to_string(identity.size);
    found.set = {{"PMI_RANK", found.rank}, {"PMI_SIZE", found.size}};
    return {std::move(found)};
  } catch (const client::Failure& failure) {
    return {{}, failure.what(), true};
  }
}

}  // namespace

Found find_pmi() {
  Found found;
  // A client uses PMI_FD if both are set.
  if (const std::string fd = variable("PMI_FD"); !fd.empty()) {
    found = inherited(fd);
  } else if (const std::string port = variable("PMI_PORT"); !port.empty()) {
    found = by_port(port);
  } else {
    return {{}, "neither PMI_FD nor PMI_PORT is set"};
  }
  if (found.connection) found.connection->spawned = variable("PMI_SPAWNED") == "1";
  return found;
}

exec::Identity connect(PmiConnection& connection) {
  const client::Deadline deadline(kTimeout);
  client::Connection made = client::connect_to_server(connection.port, deadline);
  const exec::Identity identity =
      exec::handshake(made, connection.id, deadline, [&](wire::Side side, std::string_view bytes) {
        connection.handshake.push_back({side, std::string(bytes)});
      });
  const std::string rank = std::to_string(identity.rank);
  const std::string size = std::to_string(identity.size);
  if (!connection.rank.empty() && (rank != connection.rank || size != connection.size)) {
    throw client::Failure("for the server at " + made.address + " this is rank " + rank + " of " + size +
                          ", but the program has PMI_RANK=" + connection.rank +
                          " and PMI_SIZE=" + connection.size);
  }
  connection.server = std::move(made.socket);
  return identity;
}

}  // namespace wireup::tap
