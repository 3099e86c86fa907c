#include "wire/printable.h"

#include "wire/utf8.h"

namespace wireup::wire {
namespace {

bool is_control(char32_t code) { return code < ' ' || (code >= 0x7f && code < 0xa0); }

// Unicode's line and paragraph separators, and the characters with the property Bidi_Control.
bool is_line_or_bidi_control(char32_t code) {
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
      append_hex(out, 'x', static_cast<unsigned char>(text[0]), 2);
    } else if (is_control(character.code)) {
      append_control(out, character.code);
    } else if (is_line_or_bidi_control(character.code)) {
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
  // Text that is not UTF-8 may have more continuation bytes than any character; it is cut anywhere.
  constexpr std::size_t kLongest = 4;
  std::size_t end = size;
  while (end > 0 && size - end < kLongest && is_continuation(text[end])) --end;
  const bool crosses = end + size_of_character(text[end]) > size;
  return text.substr(0, crosses ? end : size);
}

}  // namespace wireup::wire
