// The process at the other end of a connection, as the driver has found out. The engine only reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wire/address.h"

namespace wireup::engine {

using wire::Transport;

struct Peer {
  Transport transport = Transport::inherited_fd;
  std::optional<std::uint32_t> uid;  // empty: the kernel does not report it
  std::optional<std::int32_t> pid;
  std::string address = {};  // for people: "127.0.0.1:40000", "unix"
  std::string host = {};     // the numeric address of another machine; empty: the peer is on this machine
  std::string unknown = {};  // why there is no uid although the peer is on this machine
  // The pids of the process and its ancestors, nearest first. Empty: the kernel does not report them.
  std::vector<std::int32_t> lineage = {};
};

}  // namespace wireup::engine
