#include "wire/framer.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace wireup::wire {
namespace {

struct Framed {
  std::vector<std::string> lines;
  bool too_long = false;
  std::size_t pending = 0;
  bool operator==(const Framed&) const = default;
};

Framed frame(std::string_view bytes, std::size_t chunk, std::size_t limit) {
  LineFramer framer(limit);
  Framed framed;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(chunk, bytes.size()))) {
    std::string_view input = bytes.substr(0, chunk);
    for (;;) {
      std::string_view line;
      const LineFramer::Result result = framer.next(input, line);
      if (result == LineFramer::Result::more) break;
      if (result == LineFramer::Result::too_long) {
        framed.too_long = true;
        return framed;
      }
      framed.lines.emplace_back(line);
    }
    CHECK(input.empty());
  }
  framed.pending = framer.pending();
  return framed;
}

TEST_CASE("framer: lines do not depend on how reads split the bytes") {
  const struct {
    std::string bytes;
    Framed framed;
  } rows[] = {
      {"", {}},
      {"a\n", {{"a"}}},
      {"a\nbc\n\n", {{"a", "bc", ""}}},
      {"a\nbc", {{"a"}, false, 2}},
      {"1234567\n", {{"1234567"}}},
      {"12345678\n", {{}, true}},
      {"a\n12345678", {{"a"}, true}},
      {"1234567", {{}, false, 7}},
      {std::string("a\0b\n", 4), {{std::string("a\0b", 3)}}},
  };
  for (const auto& row : rows) {
    for (const std::size_t chunk : {1, 2, 3, 7, 100}) {
      CAPTURE(row.bytes);
      CAPTURE(chunk);
      CHECK(frame(row.bytes, chunk, 8) == row.framed);
    }
  }
}

TEST_CASE("framer: a line that lies completely in the input is not copied") {
  LineFramer framer(100);
  const std::string bytes = "first\nsecond\n";
  std::string_view input = bytes;
  std::string_view line;
  REQUIRE(framer.next(input, line) == LineFramer::Result::line);
  CHECK(line.data() == bytes.data());
  REQUIRE(framer.next(input, line) == LineFramer::Result::line);
  CHECK(line.data() == bytes.data() + 6);
}

struct Frames {
  std::vector<std::string> frames;
  FrameFramer::Result end = FrameFramer::Result::more;
  std::size_t pending = 0;
  bool operator==(const Frames&) const = default;
};

Frames read_frames(std::string_view bytes, std::size_t chunk, std::size_t limit) {
  FrameFramer framer(limit);
  Frames read;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(chunk, bytes.size()))) {
    std::string_view input = bytes.substr(0, chunk);
    for (;;) {
      std::string_view frame;
      const FrameFramer::Result result = framer.next(input, frame);
      if (result == FrameFramer::Result::more) break;
      if (result != FrameFramer::Result::frame) {
        read.end = result;
        return read;
      }
      read.frames.emplace_back(frame);
    }
    CHECK(input.empty());
  }
  read.pending = framer.pending();
  return read;
}

TEST_CASE("framer: frames do not depend on how reads split the bytes") {
  using R = FrameFramer::Result;
  const struct {
    std::string bytes;
    Frames read;
  } rows[] = {
      {"", {}},
      {"     1a", {{"a"}}},
      {"1     a", {{"a"}}},
      {"  1   a     2bc", {{"a", "bc"}}},
      {"     8\n;=\n  ab", {{"\n;=\n  ab"}}},
      {"     1a    ", {{"a"}, R::more, 4}},
      {"     1a     2b", {{"a"}, R::more, 7}},
      {"     9", {{}, R::too_long}},
      {"999999", {{}, R::too_long}},
      {"     0", {{}, R::bad_length}},
      {"      ", {{}, R::bad_length}},
      {"    -1", {{}, R::bad_length}},
      {"    +1", {{}, R::bad_length}},
      {"  1 1 ", {{}, R::bad_length}},
      {"   0x1", {{}, R::bad_length}},
      {"cmd=in", {{}, R::bad_length}},
      {"     1a\n    1b", {{"a"}, R::bad_length}},
  };
  for (const auto& row : rows) {
    for (const std::size_t chunk : {1, 2, 3, 6, 7, 100}) {
      CAPTURE(row.bytes);
      CAPTURE(chunk);
      CHECK(read_frames(row.bytes, chunk, 8) == row.read);
    }
  }
}

TEST_CASE("framer: a frame that lies completely in the input is not copied") {
  FrameFramer framer(100);
  const std::string bytes = "     5first     6second";
  std::string_view input = bytes;
  std::string_view frame;
  REQUIRE(framer.next(input, frame) == FrameFramer::Result::frame);
  CHECK(frame.data() == bytes.data() + 6);
  REQUIRE(framer.next(input, frame) == FrameFramer::Result::frame);
  CHECK(frame.data() == bytes.data() + 17);
}

TEST_CASE("framer: a new limit applies from the next frame") {
  FrameFramer framer(4);
  std::string_view input = "     4abcd     8abcdefgh";
  std::string_view frame;
  REQUIRE(framer.next(input, frame) == FrameFramer::Result::frame);
  framer.set_limit(8);
  REQUIRE(framer.next(input, frame) == FrameFramer::Result::frame);
  CHECK(frame == "abcdefgh");
}

}  // namespace
}  // namespace wireup::wire
