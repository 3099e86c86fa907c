#include <cstdint>
#include <string>
#include <string_view>

#include "addon/convert.h"

namespace wireup::addon {
namespace {

// What a byte that is no UTF-8 is in JavaScript, from 0x80 on.
constexpr char16_t kEscape = 0xdc00;

// U+FFFD in UTF-8: what Node-API makes of a lone surrogate.
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

struct Sequence {
  std::size_t size = 0;  // 0: none begins here
  char32_t code = 0;
};

// The sequence of UTF-8 at the beginning of a text that is not empty: shortest form, no surrogate, up to U+10FFFF.
Sequence sequence(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return {1, first};
  if (first < 0xc2 || first > 0xf4) return {};
  const std::size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < size) return {};
  char32_t code = first & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3fU);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {size, code};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = sequence(text).size;
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

void append(std::u16string& to, char32_t code) {
  if (code < 0x10000) {
    to.push_back(static_cast<char16_t>(code));
  } else {
    to.push_back(static_cast<char16_t>(0xd800 + ((code - 0x10000) >> 10)));
    to.push_back(static_cast<char16_t>(0xdc00 + ((code - 0x10000) & 0x3ff)));
  }
}

void append(std::string& to, char32_t code) {
  if (code < 0x80) {
    to.push_back(static_cast<char>(code));
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const unsigned lead = 0xff00U >> (more + 1) & 0xffU;
  to.push_back(static_cast<char>(lead | code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) to.push_back(static_cast<char>(0x80U | (code >> (6 * i) & 0x3fU)));
}

std::string bytes_of(const std::u16string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char16_t unit = text[i];
    const bool high = unit >= 0xd800 && unit < 0xdc00;
    if (high && i + 1 < text.size() && text[i + 1] >= 0xdc00 && text[i + 1] < 0xe000) {
      append(bytes, 0x10000 + ((unit - 0xd800U) << 10) + (text[++i] - 0xdc00U));
    } else if (unit >= kEscape + 0x80 && unit <= kEscape + 0xff) {
      bytes.push_back(static_cast<char>(unit - kEscape));
    } else if (unit >= 0xd800 && unit < 0xe000) {
      bytes += kReplacement;
    } else {
      append(bytes, unit);
    }
  }
  return bytes;
}

}  // namespace

std::string to_text(const Napi::Value& value) {
  if (!value.IsString()) throw Napi::TypeError::New(value.Env(), "expected a string");
  const auto string = value.As<Napi::String>();
  std::string text = string.Utf8Value();
  return text.find(kReplacement) == std::string::npos ? text : bytes_of(string.Utf16Value());
}

Napi::Value to_string(Napi::Env env, std::string_view text) {
  if (is_utf8(text)) return Napi::String::New(env, text.data(), text.size());
  std::u16string units;
  while (!text.empty()) {
    const Sequence next = sequence(text);
    append(units, next.size == 0 ? kEscape + static_cast<unsigned char>(text.front()) : next.code);
    text.remove_prefix(next.size == 0 ? 1 : next.size);
  }
  return Napi::String::New(env, units);
}

std::string to_bytes(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), "expected a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  return {reinterpret_cast<const char*>(array.Data()), array.ByteLength()};
}

}  // namespace wireup::addon
