#include "wire/key_values.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace wireup::wire {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

Entries read_entries(std::string_view text, bool& valid) {
  Entries entries;
  KeyValueReader reader(text);
  while (const auto entry = reader.next()) entries.emplace_back(entry->first, entry->second);
  valid = reader.done();
  return entries;
}

TEST_CASE("key values: entries with any bytes are read as they were written, also from joined texts") {
  const Entries entries{{"key", "value"},
                        {"", ""},
                        {std::string("\0\n", 2), std::string(70'000, 'x')},
                        {"k", ""},
                        {"", "\xff\xff\xff\xff"}};
  std::string text;
  for (const auto& [key, value] : entries) append_key_value(text, key, value);
  bool valid = false;
  CHECK(read_entries(text, valid) == entries);
  CHECK(valid);
  CHECK(read_entries(text + text, valid).size() == 2 * entries.size());
  CHECK(valid);
  CHECK(read_entries("", valid).empty());
  CHECK(valid);
}

TEST_CASE("key values: the layout of an entry") {
  std::string text;
  append_key_value(text, "ab", "c");
  CHECK(text == std::string("\2\0\0\0ab\1\0\0\0c", 11));
}

TEST_CASE("key values: a text that ends inside an entry is malformed, and entries before are read") {
  std::string first;
  append_key_value(first, "k", "v");
  std::string text = first;
  append_key_value(text, "key", "value");
  for (std::size_t size = 0; size <= text.size(); ++size) {
    CAPTURE(size);
    bool valid = false;
    const Entries entries = read_entries(std::string_view(text).substr(0, size), valid);
    CHECK(entries.size() == (size == text.size() ? 2 : size >= first.size() ? 1 : 0));
    CHECK(valid == (size == 0 || size == first.size() || size == text.size()));
  }
}

TEST_CASE("key values: a length beyond the end is malformed") {
  for (const std::string& length : {std::string("\xff\xff\xff\xff"), std::string("\5\0\0\0", 4)}) {
    bool valid = true;
    CHECK(read_entries(length + "abcd", valid).empty());
    CHECK_FALSE(valid);
    CHECK(read_entries(std::string("\1\0\0\0a", 5) + length + "abcd", valid).empty());
    CHECK_FALSE(valid);
  }
}

}  // namespace
}  // namespace wireup::wire
