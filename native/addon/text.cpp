#include <string>
#include <string_view>

#include "addon/convert.h"
#include "wire/utf8.h"

namespace wireup::addon {
namespace {

// The code unit for the byte 0x00 of this range; bytes from 0x80 on that are not valid UTF-8 use it.
constexpr char16_t kEscape = 0xdc00;

// U+FFFD in UTF-8, into which Node-API converts a lone surrogate.
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const wire::Character next = wire::first_character(text);
    if (!next.valid) return false;
    text.remove_prefix(next.size);
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
    const wire::Character next = wire::first_character(text);
    append(units, next.valid ? next.code : kEscape + static_cast<unsigned char>(text.front()));
    text.remove_prefix(next.size);
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
