// Text of peers, ranks and file names, made fit to stand in a line for people.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wireup::wire {

// `text` without what could end a line, steer a terminal or turn the direction of what follows: a control
// character (C0, DEL, C1) and a byte that is not UTF-8 become \xHH (\t, \n and \r for these three), a line or
// paragraph separator and a control of bidirectional text \uHHHH. A backslash stays as it is, so to escape a
// text again changes nothing. lib/printable.ts does the same.
std::string printable(std::string_view text);

// The beginning of `text`: at most `size` bytes, and no part of a UTF-8 character at its end.
std::string_view cut(std::string_view text, std::size_t size);

}  // namespace wireup::wire
