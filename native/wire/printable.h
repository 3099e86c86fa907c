// Makes text of peers, ranks and file names safe to print.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wireup::wire {

// Returns `text` with an escape for every character that could end the line, control a terminal, or change
// the direction of the text after it. Control characters (C0, DEL, C1) and bytes that are not UTF-8 become
// \xHH, except \t, \n and \r. Line and paragraph separators and bidirectional controls become \uHHHH.
// Backslashes are unchanged, so that escaping a text twice has no further effect. lib/printable.ts implements
// the same rules.
std::string printable(std::string_view text);

// Returns the beginning of `text`, at most `size` bytes. A UTF-8 character that would be cut at the end is
// dropped.
std::string_view cut(std::string_view text, std::size_t size);

}  // namespace wireup::wire
