#include "wire/message_splitter.h"

#include <algorithm>

#include "wire/framer.h"

namespace wireup::wire {
namespace {

// Whether `word` is one of the words of a line.
bool has_word(std::string_view line, std::string_view word) {
  for (std::size_t at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if (at > 0 && line[at - 1] == ' ' && (end == line.size() || line[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

std::optional<CutMessage> MessageSplitter::next(Side side, std::string_view& input) {
  Stream& from = stream(side);
  if (from.returned) {
    from.buffer.clear();
    from.returned = false;
  }
  if (input.empty()) return std::nullopt;
  if (from.form == Framing::line) {
    const auto cut = next_line(from, input);
    if (cut && cut->framing == Framing::line) follow_version(side, cut->content);
    return cut;
  }
  if (from.form == Framing::frame) return next_frame(from, input);
  const CutMessage cut{Framing::raw, input};
  input = {};
  return cut;
}

std::optional<CutMessage> MessageSplitter::rest(Side side) {
  Stream& from = stream(side);
  if (from.returned || from.buffer.empty()) return std::nullopt;
  from.returned = true;
  return CutMessage{Framing::raw, from.buffer};
}

std::optional<CutMessage> MessageSplitter::next_line(Stream& from, std::string_view& input) const {
  const std::size_t newline = input.find('\n');
  const bool ends = newline != std::string_view::npos;
  const std::size_t size = ends ? newline + 1 : input.size();
  const std::string_view part = input.substr(0, size);
  input.remove_prefix(size);
  if (from.too_long || from.buffer.size() + size > line_limit_) {
    from.too_long = !ends;
    if (from.buffer.empty()) return CutMessage{Framing::raw, part};
    from.buffer.append(part);
    from.returned = true;
    return CutMessage{Framing::raw, from.buffer};
  }
  if (ends && from.buffer.empty()) return CutMessage{Framing::line, part.substr(0, newline)};
  from.buffer.append(part);
  if (!ends) return std::nullopt;
  from.returned = true;
  return CutMessage{Framing::line, std::string_view(from.buffer).substr(0, from.buffer.size() - 1)};
}

std::optional<CutMessage> MessageSplitter::next_frame(Stream& from, std::string_view& input) {
  const auto take = [&](std::size_t size) {
    const std::size_t taken = std::min(input.size(), size - from.buffer.size());
    from.buffer.append(input.substr(0, taken));
    input.remove_prefix(taken);
    return from.buffer.size() == size;
  };
  if (from.buffer.size() < kFrameHeader && !take(kFrameHeader)) return std::nullopt;
  const auto length = frame_length(std::string_view(from.buffer).substr(0, kFrameHeader));
  if (!length) {
    from.form = Framing::raw;
    from.returned = true;
    from.buffer.append(input);
    input = {};
    return CutMessage{Framing::raw, from.buffer};
  }
  if (!take(kFrameHeader + *length)) return std::nullopt;
  from.returned = true;
  const std::string_view whole = from.buffer;
  return CutMessage{Framing::frame, whole.substr(kFrameHeader), whole.substr(0, kFrameHeader)};
}

// The client's frames may follow its init at once. Those of the server follow its reply, which may decline.
void MessageSplitter::follow_version(Side side, std::string_view line) {
  const bool is_2 = has_word(line, "pmi_version=2");
  if (side == Side::client) {
    if (is_2 && line.starts_with("cmd=init ")) stream(Side::client).form = Framing::frame;
  } else if (line.starts_with("cmd=response_to_init")) {
    const bool agreed = is_2 && (has_word(line, "rc=0") || line.find(" rc=") == std::string_view::npos);
    stream(Side::client).form = agreed ? Framing::frame : Framing::line;
    stream(Side::server).form = stream(Side::client).form;
  }
}

}  // namespace wireup::wire
