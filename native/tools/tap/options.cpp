#include "tools/tap/options.h"

#include <array>
#include <string_view>

#ifndef WIREUP_VERSION
#define WIREUP_VERSION "0.1.0"
#endif

namespace wireup::tap {
namespace {

struct Row {
  char letter;  // its short form; 0: none
  std::string_view name;
  std::string_view value;  // empty: a flag
  std::string_view help;
};

enum : std::size_t { kFile, kSecrets, kVerbose, kHelp, kVersion };

// Each option is declared here once.
constexpr std::array<Row, 5> kRows{{
    {'\0', "--trace-file", "<file>",
     "record to this file instead of stderr: JSON lines if its name ends with .json or .jsonl, for wireup "
     "trace "
     "and wireup replay; otherwise lines of text. %r is the rank, %h the host, %p the process id, %% a "
     "percent "
     "sign"},
    {'\0', "--trace-secrets", "", "keep PMI_ID in the recording, which otherwise has *** in its place"},
    {'v', "--verbose", "", "report on stderr which PMI connection is recorded, or why none is"},
    {'h', "--help", "", "print this help"},
    {'V', "--version", "", "print the version"},
}};

constexpr std::string_view kUsage = "Usage: wireup tap [options] [--] <program> [args...]\n";

constexpr std::string_view kIntroduction =
    "\n"
    "Runs a program as a rank, and records the PMI messages between it and its server. The rank may be of "
    "any\n"
    "launcher: mpiexec, srun --mpi=pmi2, flux run, wireup run.\n"
    "\n"
    "Options:\n";

constexpr std::string_view kEnd =
    "\n"
    "The program keeps the process, so its exit code, signals, input and output are as without the tap. It "
    "gets\n"
    "PMI_FD, also if the launcher has set PMI_PORT. A program without PMI runs as it would.\n"
    "\n"
    "Examples:\n"
    "  mpiexec -n 4 wireup tap ./a.out\n"
    "  srun --mpi=pmi2 -n 4 wireup tap --trace-file trace.%r.jsonl ./a.out\n"
    "\n"
    "Exit codes: those of the program; 1 the file cannot be written; 2 wrong use; 126 the program cannot be\n"
    "executed; 127 there is no such program.\n";

constexpr std::size_t kColumn = 24;
constexpr std::size_t kWidth = 110;

// Appends `text` from kColumn on, in lines of at most kWidth characters.
void append_wrapped(std::string& out, std::size_t column, std::string_view text) {
  out.append(kColumn - column, ' ');
  std::size_t at = kColumn;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (at > kColumn && at + 1 + word.size() > kWidth) {
      out += '\n';
      out.append(kColumn, ' ');
      at = kColumn;
    } else if (at > kColumn) {
      out += ' ';
      ++at;
    }
    out += word;
    at += word.size();
    text.remove_prefix(word.size());
    if (!text.empty()) text.remove_prefix(1);
  }
  out += '\n';
}

std::string help() {
  std::string out(kUsage);
  out += kIntroduction;
  for (const Row& row : kRows) {
    std::string flags = "  ";
    if (row.letter != '\0') flags.append({'-', row.letter}).append(", ");
    flags += row.name;
    if (!row.value.empty()) flags.append(" ").append(row.value);
    out += flags;
    append_wrapped(out, flags.size(), row.help);
  }
  return out.append(kEnd);
}

CommandLine wrong(const std::string& message) {
  return {{}, "wireup tap: " + message + " (see --help)\n", kExitUsage};
}

// The index of the row; kRows.size() if there is none.
std::size_t find_row(std::string_view word) {
  std::size_t i = 0;
  for (; i < kRows.size(); ++i) {
    const bool is_short = word.size() == 2 && word[0] == '-' && word[1] == kRows[i].letter;
    if (word == kRows[i].name || is_short) break;
  }
  return i;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  CommandLine result;
  int next = 1;
  for (; next < argc && argv[next][0] == '-'; ++next) {
    const std::string_view word = argv[next];
    if (word == "--") {
      ++next;
      break;
    }
    // --name=value
    const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string_view::npos;
    const std::size_t row = find_row(word.substr(0, equals));
    if (row == kRows.size()) return wrong("unknown option '" + std::string(word) + "'");
    const std::string name(kRows[row].name);
    std::string_view value;
    if (!kRows[row].value.empty()) {
      if (equals != std::string_view::npos) {
        value = word.substr(equals + 1);
      } else if (++next < argc) {
        value = argv[next];
      }
      if (value.empty()) return wrong("option '" + name + "': a value is missing");
    } else if (equals != std::string_view::npos) {
      return wrong("option '" + name + "' takes no value");
    }
    switch (row) {
      case kFile:
        result.options.file = value;
        break;
      case kSecrets:
        result.options.secrets = true;
        break;
      case kVerbose:
        result.options.verbose = true;
        break;
      case kHelp:
        return {{}, help(), 0};
      default:
        return {{}, WIREUP_VERSION "\n", 0};
    }
  }
  if (next >= argc) return wrong("which program? Usage: wireup tap [options] [--] <program> [args...]");
  result.options.program = argv + next;
  return result;
}

}  // namespace wireup::tap
