// Returns a PMI-2 frame: the length in six characters, padded on the left with blanks, then the text.
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
