#include "tools/agent/pattern.h"

#include <chrono>

namespace wireup::agent {
namespace {

// Calls `on_piece` for each piece of the pattern: plain text, and the letter after its percent sign (0 at the
// end).
template <typename OnPiece>
void walk(std::string_view pattern, OnPiece on_piece) {
  while (!pattern.empty()) {
    const std::size_t sign = pattern.find('%');
    const bool found = sign != std::string_view::npos && sign + 1 < pattern.size();
    const std::string_view text = pattern.substr(0, found ? sign : pattern.size());
    on_piece(text, found ? pattern[sign + 1] : '\0');
    pattern.remove_prefix(found ? sign + 2 : text.size());
  }
}

}  // namespace

std::string expand(std::string_view pattern, const RankNames& names, std::int64_t seconds) {
  std::string result;
  walk(pattern, [&](std::string_view text, char letter) {
    result += text;
    switch (letter) {
      case '\0':
        break;
      case 'r':
        result += std::to_string(names.rank);
        break;
      case 'h':
        result += names.host;
        break;
      case 'p':
        result += std::to_string(names.node);
        break;
      case 'g':
        result += std::to_string(names.group);
        break;
      case 't':
        result += std::to_string(seconds);
        break;
      case '%':
        result += '%';
        break;
      default:
        result += {'%', letter};
    }
  });
  return result;
}

std::int64_t seconds_now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

bool mentions(std::string_view pattern, char letter) {
  bool found = false;
  walk(pattern, [&](std::string_view, char at) { found = found || at == letter; });
  return found;
}

}  // namespace wireup::agent
