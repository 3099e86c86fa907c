#include "wire/framer.h"

namespace wireup::wire {

LineFramer::Result LineFramer::next(std::string_view& input, std::string_view& line) {
  if (complete_) {
    buffer_.clear();
    complete_ = false;
  }
  const std::size_t room = limit_ - buffer_.size();
  const std::size_t newline = input.substr(0, room).find('\n');
  if (newline == std::string_view::npos) {
    if (input.size() >= room) return Result::too_long;
    buffer_.append(input);
    input = {};
    return Result::more;
  }
  if (buffer_.empty()) {
    line = input.substr(0, newline);
  } else {
    buffer_.append(input.substr(0, newline));
    complete_ = true;
    line = buffer_;
  }
  input.remove_prefix(newline + 1);
  return Result::line;
}

}  // namespace wireup::wire
