// Parts of messages for people.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace wireup::runtime {

// "5 s", or "250 ms" if it is no whole number of seconds.
std::string in_words(std::chrono::milliseconds duration);

// The lines of a foreign text, printable, without empty ones, joined by "; ". Of a long text only the end,
// about 500 bytes.
std::string last_lines(std::string_view text);

}  // namespace wireup::runtime
