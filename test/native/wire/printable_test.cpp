#include "wire/printable.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using wireup::wire::cut;
using wireup::wire::printable;

TEST_CASE("printable: text of every script is unchanged") {
  for (const std::string_view text : {"", "/tmp/a b", "back\\slash", "gr\u00fc\u00dfe", "\u4e2d\u6587",
                                      "\u0645\u06cc\u200c\u062e", "\U0001f600", "\u00a0"}) {
    CHECK(printable(text) == text);
  }
}

TEST_CASE("printable: line ends, terminal controls and bidirectional controls are escaped") {
  struct {
    std::string_view text;
    std::string_view shown;
  } const cases[] = {
      {"a\nwireup: rank 0 finished OK", "a\\nwireup: rank 0 finished OK"},
      {"\r\t", "\\r\\t"},
      {"\x1b]0;title\x07", "\\x1b]0;title\\x07"},
      {std::string_view("\0x", 2), "\\x00x"},
      {"\x7f", "\\x7f"},
      {"\u009b1m", "\\x9b1m"},  // CSI as a C1 control
      {"\u202e\u2066\u061c", "\\u202e\\u2066\\u061c"},
      {"\u2028\u2029", "\\u2028\\u2029"},
  };
  for (const auto& [text, shown] : cases) {
    CHECK(printable(text) == shown);
    CHECK(printable(printable(text)) == shown);
  }
}

TEST_CASE("printable: bytes that are not UTF-8 are escaped one by one") {
  struct {
    std::string_view text;
    std::string_view shown;
  } const cases[] = {
      {"caf\xe9 au lait", "caf\\xe9 au lait"},
      {"\x80\xbf", "\\x80\\xbf"},
      {"\xc3", "\\xc3"},  // an incomplete character
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xe2\x82z", "\\xe2\\x82z"},
      {"\xc0\x8a", "\\xc0\\x8a"},                    // a newline, overlong: two bytes
      {"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},           // three bytes
      {"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"},  // four bytes
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond the last character
      {"\xff\xfe", "\\xff\\xfe"},
  };
  for (const auto& [text, shown] : cases) CHECK(printable(text) == shown);
}

TEST_CASE("cut: a character is never cut in half") {
  const std::string_view text = "a\u00fc\u4e2d\U0001f600z";  // 1, 2, 3, 4 and 1 bytes
  const std::size_t sizes[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (std::size_t size = 0; size < std::size(sizes); ++size) {
    CAPTURE(size);
    CHECK(cut(text, size) == text.substr(0, sizes[size]));
  }
}

TEST_CASE("cut: bytes that are not UTF-8 are cut anywhere") {
  CHECK(cut("\x80\x80\x80\x80\x80\x80", 5).size() == 5);
  CHECK(cut("\xff\xff\xff", 2).size() == 2);
}
