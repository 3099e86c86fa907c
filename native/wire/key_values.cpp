#include "wire/key_values.h"

namespace wireup::wire {
namespace {

constexpr std::size_t kLengthSize = 4;  // of a length, in bytes

void append_text(std::string& out, std::string_view text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  for (std::size_t byte = 0; byte < kLengthSize; ++byte) out += static_cast<char>(length >> (8 * byte));
  out += text;
}

// Returns nothing if `text` does not begin with a length and that many bytes.
std::optional<std::string_view> take_text(std::string_view& text) {
  if (text.size() < kLengthSize) return std::nullopt;
  std::uint32_t length = 0;
  for (std::size_t byte = 0; byte < kLengthSize; ++byte)
    length |= std::uint32_t{static_cast<unsigned char>(text[byte])} << (8 * byte);
  if (length > text.size() - kLengthSize) return std::nullopt;
  const std::string_view result = text.substr(kLengthSize, length);
  text.remove_prefix(kLengthSize + length);
  return result;
}

}  // namespace

void append_key_value(std::string& out, std::string_view key, std::string_view value) {
  append_text(out, key);
  append_text(out, value);
}

std::optional<std::pair<std::string_view, std::string_view>> KeyValueReader::next() {
  std::string_view rest = rest_;
  const auto key = take_text(rest);
  if (!key) return std::nullopt;
  const auto value = take_text(rest);
  if (!value) return std::nullopt;
  rest_ = rest;
  return std::pair(*key, *value);
}

}  // namespace wireup::wire
