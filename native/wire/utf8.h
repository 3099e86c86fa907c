// Decodes UTF-8 (RFC 3629) in text that may contain other bytes. Overlong forms, surrogates and codes above
// U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wireup::wire {

struct Character {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;  // false: the first byte does not begin a character; size is 1
};

inline bool is_continuation(char c) { return (static_cast<std::uint8_t>(c) & 0xc0) == 0x80; }

// Returns the length in bytes of a character with this first byte; 0: no character begins with it.
inline std::size_t size_of_character(char c) {
  const auto first = static_cast<std::uint8_t>(c);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

// Decodes the first character of a text that is not empty.
inline Character first_character(std::string_view text) {
  const auto byte_at = [text](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::size_t size = size_of_character(text[0]);
  if (size == 1) return {byte_at(0), 1, true};
  if (size == 0 || text.size() < size) return {};
  char32_t code = byte_at(0) & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return {};
    code = code << 6 | (byte_at(i) & 0x3fU);
  }
  if ((size == 3 && code < 0x800) || (size == 4 && code < 0x10000)) return {};
  if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return {};
  return {code, size, true};
}

}  // namespace wireup::wire
