// What tests of output over hosts share: a Hello, the stdout of host 0, and lines that can be checked.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "tools/agent/host_streams.h"

namespace wireup::test {

inline msg::Hello merged(std::uint32_t host, std::string label = "[%r] ") {
  return {.host = host,
          .out = {msg::OutputMode::merge},
          .err = {msg::OutputMode::merge},
          .label = std::move(label)};
}

// Fd 1 of this process is the stdout of host 0's agent. Its read end is `out`.
struct Stdout {
  Stdout() : Stdout(os::make_pipe()) {}
  explicit Stdout(os::FdPair pipe) : out(std::move(pipe.first)) {
    replaced.emplace(1, std::move(pipe.second));
  }
  // The reader then reads the end.
  void close() { replaced.reset(); }

  os::UniqueFd out;
  std::optional<Replaced> replaced;
};

// Numbered lines of a rank until `total` bytes.
inline std::function<std::string()> numbered_lines(std::uint32_t rank, std::size_t total) {
  return [rank, total, number = 0, sent = std::size_t{0}]() mutable {
    std::string text;
    while (text.size() < 8192 && sent + text.size() < total) {
      // Lines of many lengths.
      text += std::to_string(rank) + " " + std::to_string(number) + " " +
              std::string(static_cast<std::size_t>(number * 7 % 200), 'x') + "\n";
      ++number;
    }
    sent += text.size();
    return text;
  };
}

// Checks that each rank's lines are whole and in order, and returns their number by rank.
inline std::map<std::string, int> check_lines(const std::string& text) {
  std::map<std::string, int> next;
  for (const std::string& line : lines_of(text)) {
    const std::size_t label = line.find("] ");
    REQUIRE(label != std::string::npos);
    const std::string rank = line.substr(1, label - 1);
    const int number = next[rank]++;
    const std::string expected = rank + " " + std::to_string(number) + " " +
                                 std::string(static_cast<std::size_t>(number * 7 % 200), 'x');
    REQUIRE(line.substr(label + 2) == expected);
  }
  return next;
}

}  // namespace wireup::test
