// Blocking reads, writes and waits with a time limit, for tests that drive real programs.
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::test {

// Much more than any step needs, even under sanitizers on a busy machine.
inline constexpr int kTimeoutMs = 20'000;

inline bool wait_readable(int fd, int timeout_ms = kTimeoutMs) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

// Waits for a condition that no fd reports.
inline bool eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTimeoutMs);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

inline std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  while (wait_readable(fd)) {
    const ssize_t size = ::read(fd, buffer, sizeof(buffer));
    if (size <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
  }
  FAIL("no end of file in time");
  return text;
}

inline std::string read_line(int fd) {
  std::string line;
  char c = 0;
  while (wait_readable(fd) && ::read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

inline void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    REQUIRE(size > 0);
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace wireup::test
