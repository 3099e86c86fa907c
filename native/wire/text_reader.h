// A reader for the small grammars of process mappings and task maps: literals and numbers with blanks between
// them.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace wireup::wire {

class TextReader {
 public:
  explicit TextReader(std::string_view text) : rest_(text) {}

  // Both functions skip blanks. They consume the literal or number if it follows, and return false otherwise.
  bool literal(std::string_view word) {
    skip_blanks();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool number(std::uint32_t& value) {
    skip_blanks();
    const auto [stop, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) return false;
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()));
    return true;
  }

  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  void skip_blanks() {
    while (rest_.starts_with(' ') || rest_.starts_with('\t')) rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

}  // namespace wireup::wire
