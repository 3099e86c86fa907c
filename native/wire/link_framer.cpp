#include "wire/link_framer.h"

#include <algorithm>
#include <charconv>

namespace wireup::wire {
namespace {

constexpr std::string_view kName = "wireup-agent ";
constexpr std::size_t kMaxGreeting = 256;
constexpr std::size_t kMaxRelease = 32;

// The buffer of a longer packet is freed after it.
constexpr std::size_t kKeptBuffer = 64 << 10;

std::optional<LinkGreeting> parse_greeting(std::string_view line) {
  if (line.size() > kMaxGreeting || !line.starts_with(kName)) return std::nullopt;
  line.remove_prefix(kName.size());
  LinkGreeting greeting;
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, greeting.protocol);
  if (error != std::errc()) return std::nullopt;
  line.remove_prefix(static_cast<std::size_t>(stop - line.data()));
  if (line.empty()) return greeting;
  if (line.front() != ' ') return std::nullopt;
  line.remove_prefix(1);
  line = line.substr(0, line.find(' '));
  const bool graphic = std::ranges::all_of(line, [](char c) { return c > ' ' && c <= '~'; });
  if (line.size() > kMaxRelease || !graphic) return std::nullopt;
  greeting.release = line;
  return greeting;
}

}  // namespace

std::string encode_greeting(const LinkGreeting& greeting) {
  return std::string(kName) + std::to_string(greeting.protocol) + " " + greeting.release + "\n";
}

std::string encode_frame(std::string packet) {
  std::array<char, 4> header{};
  for (std::size_t i = 0; i < header.size(); ++i) header[i] = static_cast<char>(packet.size() >> (8 * i));
  packet.insert(0, header.data(), header.size());
  return packet;
}

LinkFramer::Result LinkFramer::next(std::string_view& input, std::string_view& packet) {
  if (complete_) {
    if (buffer_.capacity() > kKeptBuffer) buffer_ = {};
    buffer_.clear();
    complete_ = false;
  }
  if (invalid_) return Result::invalid;
  const Result result = greeting_ ? find_packet(input, packet) : find_greeting(input);
  invalid_ = result == Result::invalid;
  return result;
}

LinkFramer::Result LinkFramer::find_greeting(std::string_view& input) {
  while (!input.empty()) {
    const std::size_t newline = input.find('\n');
    const std::string_view part = input.substr(0, newline == std::string_view::npos ? newline : newline + 1);
    const std::string_view taken = part.substr(0, max_noise_ + kMaxGreeting - noise_.size());
    noise_ += taken;
    input.remove_prefix(taken.size());
    if (taken.size() < part.size()) return Result::invalid;
    if (newline == std::string_view::npos) return Result::more;
    std::string_view line = std::string_view(noise_).substr(line_);
    line.remove_suffix(1);
    greeting_ = parse_greeting(line);
    if (greeting_) {
      noise_.resize(line_);
      return Result::greeting;
    }
    line_ = noise_.size();
    if (line_ > max_noise_) return Result::invalid;
  }
  return Result::more;
}

LinkFramer::Result LinkFramer::find_packet(std::string_view& input, std::string_view& packet) {
  while (length_ == 0) {
    while (header_size_ < header_.size() && !input.empty()) {
      header_[header_size_++] = static_cast<unsigned char>(input.front());
      input.remove_prefix(1);
    }
    if (header_size_ < header_.size()) return Result::more;
    header_size_ = 0;
    for (std::size_t i = 0; i < header_.size(); ++i) length_ |= std::size_t{header_[i]} << (8 * i);
    if (length_ > max_packet_) return Result::invalid;
  }
  if (buffer_.empty() && input.size() >= length_) {
    packet = input.substr(0, length_);
    input.remove_prefix(length_);
    length_ = 0;
    return Result::packet;
  }
  const std::string_view taken = input.substr(0, length_ - buffer_.size());
  buffer_ += taken;
  input.remove_prefix(taken.size());
  if (buffer_.size() < length_) return Result::more;
  length_ = 0;
  complete_ = true;
  packet = buffer_;
  return Result::packet;
}

}  // namespace wireup::wire
