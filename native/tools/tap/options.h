// The command line of wireup-tap.
#pragma once

#include <optional>
#include <string>

namespace wireup::tap {

struct Options {
  std::string file;      // a pattern; empty: stderr
  bool secrets = false;  // the recording keeps PMI_IDs
  bool verbose = false;
  char** program = nullptr;  // with its arguments, as for execvp(3)
};

// What main() does. If there is no program, it prints `text`, and exits with `exit_code`.
struct CommandLine {
  Options options;
  std::string text = {};
  int exit_code = 0;
};

CommandLine parse_command_line(int argc, char** argv);

inline constexpr int kExitUsage = 2;

}  // namespace wireup::tap
