// Splits a byte stream into PMI-1 lines or PMI-2 frames. Each connection has its own framer: Hydra's proxy
// shared one between all connections, and an incomplete line of one client corrupted the input of the others.
//
// A line that lies completely in the input is returned as a view of the input. Only a line that is split
// between two reads is copied. A framer never buffers more than its limit. Its results depend on the bytes
// only, not on how the reads split them.
//
// Every connection starts with lines. After `init` the session uses the framer of the agreed version for the
// rest of the connection.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace wireup::wire {

class LineFramer {
 public:
  // `limit`: the maximum length of a line in bytes, including its newline.
  explicit LineFramer(std::size_t limit) : limit_(limit) {}

  enum class Result { line, more, too_long };

  // Removes the next line from the front of `input`.
  // - line: `line` is the text without its newline. It is valid until the next call and while the memory of
  // `input` is.
  // - more: all of `input` was consumed, and the line is incomplete.
  // - too_long: the stream cannot be parsed any further.
  Result next(std::string_view& input, std::string_view& line);

  // The bytes of an incomplete line. They are lost if the stream ends now.
  std::size_t pending() const { return complete_ ? 0 : buffer_.size(); }

 private:
  std::size_t limit_;
  std::string buffer_;
  bool complete_ = false;  // buffer_ is the line that next() returned last
};

// The length that the six characters before a frame stand for; empty: they are no positive number.
std::optional<std::size_t> frame_length(std::string_view header);

// A frame consists of its length, decimal in six characters, and that many bytes. MPICH pads the length with
// blanks on the left, Slurm's library on the right.
class FrameFramer {
 public:
  // `limit`: the maximum length of a frame in bytes, without the six characters; at most kMaxFrame.
  explicit FrameFramer(std::size_t limit) : limit_(limit) {}

  enum class Result { frame, more, too_long, bad_length };

  // Like LineFramer::next(); `frame` is without its length.
  // - bad_length: the six bytes are not a positive number. The stream cannot be parsed any further.
  Result next(std::string_view& input, std::string_view& frame);

  // Applies from the next frame.
  void set_limit(std::size_t limit) { limit_ = limit; }

  std::size_t pending() const { return complete_ ? 0 : buffer_.size(); }

 private:
  std::size_t limit_;
  std::string buffer_;  // a frame that is split between reads, with its length
  bool complete_ = false;
};

}  // namespace wireup::wire
