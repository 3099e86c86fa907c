// Cuts the bytes of one connection into messages, in both directions, for recordings. It follows the version
// that client and server agree on, decides nothing, and loses no byte: what is neither a line nor a frame is
// `raw`.
//
// It keeps at most one message of each side: a line up to its limit, or a frame as its bytes arrive.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/limits.h"

namespace wireup::wire {

enum class Side : std::uint8_t { client, server };

enum class Framing : std::uint8_t {
  line,   // PMI-1: a newline follows
  frame,  // PMI-2: six characters with the length precede
  raw,    // neither: incomplete, too long, or after an invalid length
};

struct CutMessage {
  Framing framing = Framing::raw;
  std::string_view content = {};  // without the newline or the length
  std::string_view length = {};   // frame: the six characters
};

class MessageSplitter {
 public:
  // `line_limit`: a line of more bytes is passed on as raw parts, and lines follow again after its newline.
  explicit MessageSplitter(std::size_t line_limit = kMaxLine) : line_limit_(line_limit) {}

  // Removes the next message of `side` from the front of `input`. Empty: all of it was consumed. The views
  // are valid until the next call for that side, and while the memory of `input` is.
  std::optional<CutMessage> next(Side side, std::string_view& input);

  // The bytes of an incomplete message, if there are any: the stream has ended.
  std::optional<CutMessage> rest(Side side);

 private:
  struct Stream {
    Framing form = Framing::line;
    std::string buffer = {};
    bool returned = false;  // next() has returned buffer
    bool too_long = false;  // in the middle of a line that is too long
  };

  std::optional<CutMessage> next_line(Stream& from, std::string_view& input) const;
  static std::optional<CutMessage> next_frame(Stream& from, std::string_view& input);
  Stream& stream(Side side) { return streams_[static_cast<std::size_t>(side)]; }
  void follow_version(Side side, std::string_view line);

  std::size_t line_limit_;
  std::array<Stream, 2> streams_;
};

}  // namespace wireup::wire
