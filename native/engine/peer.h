// Who is at the other end of a connection, as the host found out. An input to the engine, never looked up
// here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace wireup::engine {

enum class Transport : std::uint8_t { inherited_fd, unix_socket, tcp };

struct Peer {
  Transport transport = Transport::inherited_fd;
  std::optional<std::uint32_t> uid;  // empty where the kernel cannot tell
  std::optional<std::int32_t> pid;
  std::string address = {};  // for people: "127.0.0.1:40000", "unix"
  std::string host = {};  // on another machine: its address in digits; empty here, where uid is to be known
  std::string unknown = {};  // why uid is not known, where it should be
  // Its process and that one's parents, nearest first; empty where the kernel cannot tell.
  std::vector<std::int32_t> lineage = {};
};

}  // namespace wireup::engine
