// Patterns of labels and of names of output files: %r, %h, %p, %g, %t, %% (see wire/agent_messages.h). A
// percent sign with any other letter is kept unchanged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wireup::agent {

struct RankNames {
  std::uint32_t group = 0;
  std::uint32_t rank = 0;
  std::uint32_t node = 0;
  std::string host;
};

// Expands the pattern. `seconds`: the time, since 1970.
std::string expand(std::string_view pattern, const RankNames& names, std::int64_t seconds);

// The time that expand() takes.
std::int64_t seconds_now();

// Whether `pattern` contains `%letter`.
bool mentions(std::string_view pattern, char letter);

}  // namespace wireup::agent
