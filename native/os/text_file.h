// Reads files of /proc and /sys. The streams of the standard library would do it too, but with them a program
// contains all of its locales: a fifth of the agent, which each host maps and initializes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::os {

// The whole file; empty if it cannot be read.
std::string read_text(const std::string& path);

// The rest of the first line that begins with `name`.
std::optional<std::string_view> rest_of_line(std::string_view text, std::string_view name);

// Cuts the first line off, without its end. Returns false if there is none.
bool next_line(std::string_view& text, std::string_view& line);

// Separated by blanks, tabs and newlines.
std::vector<std::string_view> words_of(std::string_view text);

}  // namespace wireup::os
