// Finds the connection of this process to its PMI server, as its environment names it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "wire/message_splitter.h"

namespace wireup::tap {

// A variable that the program gets.
struct Variable {
  std::string name;
  std::string value;
};

struct PmiConnection {
  os::UniqueFd server;
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

// Connects and identifies itself if the environment has PMI_PORT. Throws os::OsError if descriptors run out.
Found find_pmi();

}  // namespace wireup::tap
