// Finds the connection of this process to its PMI server, as its environment names it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "tools/exec/handshake.h"
#include "wire/message_splitter.h"

namespace wireup::tap {

// A variable that the program gets.
struct Variable {
  std::string name;
  std::string value;
};

struct PmiConnection {
  // Empty: connect() opens it when the program sends its first bytes.
  os::UniqueFd server;
  // PMI_PORT and PMI_ID. Empty: the connection is inherited.
  std::string port = {};
  std::string id = {};
  // The number that the program knows its connection by. For PMI_FD it is that of `server`.
  int program_fd = -1;
  std::string_view transport;      // fd, tcp or unix
  std::string rank;                // as the launcher reports it; empty: it is not known
  std::string size;                // likewise
  bool spawned = false;            // PMI_SPAWNED
  std::vector<Variable> set = {};  // what changes in the program's environment
  std::vector<std::string> unset = {};

  // What has been exchanged already.
  struct Exchanged {
    wire::Side side;
    std::string bytes;
  };
  std::vector<Exchanged> handshake = {};
};

struct Found {
  std::optional<PmiConnection> connection;
  // Why there is none.
  std::string reason = {};
  // The environment names a server, which cannot be reached.
  bool is_fault = false;
};

// If the environment has PMI_PORT without PMI_RANK and PMI_SIZE of the same launcher, this connects, because
// the program needs them beside PMI_FD. Throws os::OsError if descriptors run out.
Found find_pmi();

// Connects to `port` and identifies itself. Sets `server`, and `handshake` also if it fails. Throws
// client::Failure, also if the server has another rank or size for this PMI_ID than the program has.
exec::Identity connect(PmiConnection& connection);

}  // namespace wireup::tap
