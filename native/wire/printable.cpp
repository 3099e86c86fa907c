#include "wire/printable.h"

#include <cstdint>

namespace wireup::wire {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

std::uint8_t byte_at(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }

bool is_continuation(char c) { return (static_cast<std::uint8_t>(c) & 0xc0) == 0x80; }

// How many bytes a character has that begins with this one; 0: none does.
std::size_t size_of_character(std::uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

// The first of a text that is not empty.
Character first_character(std::string_view text) {
  const std::uint8_t first = byte_at(text, 0);
  const std::size_t size = size_of_character(first);
  if (size == 1) return {first, 1, true};
  if (size == 0 || text.size() < size) return {};
  char32_t code = first & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return {};
    code = code << 6 | (byte_at(text, i) & 0x3fU);
  }
  // Longer than it need be, a surrogate, or beyond the last (RFC 3629).
  if ((size == 3 && code < 0x800) || (size == 4 && code < 0x10000)) return {};
  if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return {};
  return {code, size, true};
}

bool is_control(char32_t code) { return code < ' ' || (code >= 0x7f && code < 0xa0); }

// Unicode's separators of lines and paragraphs, and its characters of property Bidi_Control.
bool turns_text(char32_t code) {
  return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

void append_hex(std::string& out, char letter, char32_t value, unsigned digits) {
  out += '\\';
  out += letter;
  while (digits-- > 0) out += "0123456789abcdef"[value >> (4 * digits) & 0xf];
}

void append_control(std::string& out, char32_t code) {
  switch (code) {
    case '\t':
      out += "\\t";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      append_hex(out, 'x', code, 2);
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    if (!character.valid) {
      append_hex(out, 'x', byte_at(text, 0), 2);
    } else if (is_control(character.code)) {
      append_control(out, character.code);
    } else if (turns_text(character.code)) {
      append_hex(out, 'u', character.code, 4);
    } else {
      out += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  return out;
}

std::string_view cut(std::string_view text, std::size_t size) {
  if (text.size() <= size) return text;
  // What is no UTF-8 has no characters to keep whole.
  constexpr std::size_t kLongest = 4;
  std::size_t end = size;
  while (end > 0 && size - end < kLongest && is_continuation(text[end])) --end;
  const bool crosses = end + size_of_character(byte_at(text, end)) > size;
  return text.substr(0, crosses ? end : size);
}

}  // namespace wireup::wire
