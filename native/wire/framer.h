// Bytes to PMI-1 lines or PMI-2 frames, one framer a connection (a shared one let a stranger's half line
// freeze and then corrupt everybody's: see the faults of Hydra's proxy).
//
// A line that lies whole in the input is returned as a view of the input; only one cut by a read is copied.
// The memory of a framer never exceeds its limit. What it returns depends on the bytes alone, never on how
// they were cut.
//
// A connection starts with lines, and its session picks the framer for what follows once `init` has settled
// the version, which is then latched for that connection.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wireup::wire {

class LineFramer {
 public:
  // `limit`: bytes of one line, newline included.
  explicit LineFramer(std::size_t limit) : limit_(limit) {}

  enum class Result { line, more, too_long };

  // Takes the next line off the front of `input`. `line` is without its newline and valid until the next call
  // or the end of the input's memory. more: all of `input` was taken. too_long: final; the stream cannot be
  // read on.
  Result next(std::string_view& input, std::string_view& line);

  // Bytes of an unfinished line, which at the end of the stream are lost.
  std::size_t pending() const { return complete_ ? 0 : buffer_.size(); }

 private:
  std::size_t limit_;
  std::string buffer_;
  bool complete_ = false;  // buffer_ holds the line returned last
};

// A frame is its length, decimal in six characters, and that many bytes. MPICH puts the blanks that fill the
// six before the digits, Slurm's library behind them.
class FrameFramer {
 public:
  // `limit`: bytes of one frame without its length; kMaxFrame at most.
  explicit FrameFramer(std::size_t limit) : limit_(limit) {}

  enum class Result { frame, more, too_long, bad_length };

  // As LineFramer::next; `frame` is without its length. bad_length is final too: the six bytes are no number,
  // or 0.
  Result next(std::string_view& input, std::string_view& frame);

  // From the next frame on.
  void set_limit(std::size_t limit) { limit_ = limit; }

  std::size_t pending() const { return complete_ ? 0 : buffer_.size(); }

 private:
  std::size_t limit_;
  std::string buffer_;  // length and bytes of a frame that was cut
  bool complete_ = false;
};

}  // namespace wireup::wire
