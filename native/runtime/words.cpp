#include "runtime/words.h"

#include <cstddef>

#include "wire/printable.h"

namespace wireup::runtime {
namespace {

constexpr std::size_t kMaxShown = 500;
constexpr std::string_view kEllipsis = "...";
constexpr std::string_view kBlanks = " \t\r";

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::string in_words(std::chrono::milliseconds duration) {
  const auto count = duration.count();
  return count % 1000 == 0 ? std::to_string(count / 1000) + " s" : std::to_string(count) + " ms";
}

std::string last_lines(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
    if (line.empty()) continue;
    line.remove_prefix(line.find_first_not_of(kBlanks));
    if (!shown.empty()) shown += "; ";
    shown += wire::printable(line);
  }
  if (shown.size() <= kMaxShown) return shown;
  std::size_t begin = shown.size() - kMaxShown;
  while (begin < shown.size() && continues_character(shown[begin])) ++begin;
  return std::string(kEllipsis) + shown.substr(begin);
}

}  // namespace wireup::runtime
