// Keys and values as the agents of a job send them to each other: for each entry the length of the key (32
// bits, little-endian), the key, the length of the value, the value. Entries follow each other without a
// count, so two texts can be joined. A text that is cut between two entries gives two valid texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace wireup::wire {

void append_key_value(std::string& out, std::string_view key, std::string_view value);

// Reads entries one by one.
class KeyValueReader {
 public:
  explicit KeyValueReader(std::string_view text) : rest_(text) {}

  // The next entry, whose views point into the text. Empty at the end, and at the first malformed entry.
  std::optional<std::pair<std::string_view, std::string_view>> next();
  // Whether everything was read and was valid.
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace wireup::wire
