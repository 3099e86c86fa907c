// Bytes to PMI-1 lines, one framer a connection (a shared one let a stranger's half line freeze and then
// corrupt everybody's: see the faults of Hydra's proxy).
//
// A line that lies whole in the input is returned as a view of the input; only one cut by a read is copied.
// The memory of a framer never exceeds its limit. What it returns depends on the bytes alone, never on how
// they were cut.
//
// PMI-2 frames differ: a connection starts with lines, and its session picks the framer for what follows once
// `init` has settled the version, which is then latched for that connection.
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

}  // namespace wireup::wire
