// The patterns of labels and of the names of output files: %r, %h, %p, %g, %t, %% (wire/agent_messages.h says
// what they stand for). Any other letter behind a percent sign stands for itself, with the sign.
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

// `seconds` since 1970.
std::string expand(std::string_view pattern, const RankNames& names, std::int64_t seconds);

// Whether `%letter` stands in it.
bool mentions(std::string_view pattern, char letter);

}  // namespace wireup::agent
