// A frame of PMI-2 as peers write it: six characters of length, blanks on the left, then the text.
#pragma once

#include <string>
#include <string_view>

#include "wire/limits.h"

namespace wireup::engine {

inline std::string frame(std::string_view text) {
  const std::string length = std::to_string(text.size());
  return std::string(wire::kFrameHeader - length.size(), ' ') + length + std::string(text);
}

}  // namespace wireup::engine
