#include "wire/framer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "wire/limits.h"

namespace wireup::wire {

std::optional<std::size_t> frame_length(std::string_view header) {
  const std::size_t begin = std::min(header.find_first_not_of(' '), header.size());
  header.remove_prefix(begin);
  header = header.substr(0, header.find_last_not_of(' ') + 1);
  std::size_t length = 0;
  const char* end = header.data() + header.size();
  const auto [stop, error] = std::from_chars(header.data(), end, length);
  if (error != std::errc() || stop != end || length == 0) return std::nullopt;
  return length;
}

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

FrameFramer::Result FrameFramer::next(std::string_view& input, std::string_view& frame) {
  if (complete_) {
    buffer_.clear();
    complete_ = false;
  }
  const auto take = [&](std::size_t size) {
    const std::size_t taken = std::min(input.size(), size - buffer_.size());
    buffer_.append(input.substr(0, taken));
    input.remove_prefix(taken);
    return buffer_.size() == size;
  };
  const bool whole = buffer_.empty() && input.size() >= kFrameHeader;
  if (!whole && buffer_.size() < kFrameHeader && !take(kFrameHeader)) return Result::more;
  const auto length = frame_length(std::string_view(whole ? input : buffer_).substr(0, kFrameHeader));
  if (!length) return Result::bad_length;
  if (*length > limit_) return Result::too_long;
  const std::size_t size = kFrameHeader + *length;
  if (whole && input.size() >= size) {
    frame = input.substr(kFrameHeader, *length);
    input.remove_prefix(size);
    return Result::frame;
  }
  if (!take(size)) return Result::more;
  complete_ = true;
  frame = std::string_view(buffer_).substr(kFrameHeader);
  return Result::frame;
}

}  // namespace wireup::wire
