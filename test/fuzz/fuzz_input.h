// The format of a fuzz input: a list of steps on four connections.
//
//   step  = head data
//   head  = one byte: connection in bits 0-1, kind in bits 2-4
//   kinds = 0-4 receive: a length byte L, L bytes    5 receive: L, 16 * L bytes    6 hang up    7 tick: L
//   seconds
//
// Connections 0 and 1 are the channels of ranks 0 and 1 if these have no connection. All others come to the
// listener.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::fuzz {

inline constexpr std::uint32_t kConnections = 4;
inline constexpr std::uint32_t kRanks = 3;

// The inputs that the driver mutates. Each target defines its own.
std::vector<std::string> seeds();

struct Step {
  enum class Kind { receive, hang_up, tick } kind;
  std::uint32_t connection;
  std::string_view bytes;
  std::uint32_t seconds;
};

inline std::vector<Step> read_steps(std::string_view input) {
  std::vector<Step> steps;
  while (!input.empty()) {
    const auto head = static_cast<unsigned char>(input[0]);
    input.remove_prefix(1);
    const std::uint32_t connection = head & 3;
    const unsigned kind = (head >> 2) & 7;
    if (kind == 6) {
      steps.push_back({Step::Kind::hang_up, connection, {}, 0});
      continue;
    }
    const std::size_t length = input.empty() ? 0 : static_cast<unsigned char>(input[0]);
    if (!input.empty()) input.remove_prefix(1);
    if (kind == 7) {
      steps.push_back({Step::Kind::tick, connection, {}, static_cast<std::uint32_t>(length)});
      continue;
    }
    const std::string_view bytes = input.substr(0, kind == 5 ? 16 * length : length);
    input.remove_prefix(bytes.size());
    steps.push_back({Step::Kind::receive, connection, bytes, 0});
  }
  return steps;
}

inline void append_receive(std::string& input, std::uint32_t connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, 255);
    input.push_back(static_cast<char>(connection));
    input.push_back(static_cast<char>(part.size()));
    input.append(part);
    bytes.remove_prefix(part.size());
  }
}

inline void append_hang_up(std::string& input, std::uint32_t connection) {
  input.push_back(static_cast<char>(connection | 6 << 2));
}

}  // namespace wireup::fuzz
