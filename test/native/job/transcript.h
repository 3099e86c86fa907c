// Golden transcripts (test/vectors/README.md): reading them, and running one against a Job in memory.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "job/job.h"

namespace wireup::test {

struct TranscriptLine {
  enum class Kind { send, hang_up, receive, closed, event } kind;
  std::uint32_t connection = 0;
  std::string text;  // placeholders and escapes resolved; for an event as written
  int line = 0;
};

struct Transcript {
  std::string name;  // file, heading, line
  std::uint32_t size = 1;
  bool port = false;
  std::vector<TranscriptLine> lines;
};

inline constexpr std::string_view kKvsname = "kvs_ƒ_0";
inline std::uint32_t token_of(std::uint32_t rank) { return 1'234'567'890U + rank * 7919U; }

inline std::uint32_t to_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) {
    throw std::runtime_error("not a number: " + std::string(text));
  }
  return value;
}

inline std::string placeholder(std::string_view name) {
  if (name == "kvsname") return std::string(kKvsname);
  if (name.starts_with("token:")) return std::to_string(token_of(to_number(name.substr(6))));
  if (name.starts_with("repeat:")) {
    const std::size_t colon = name.find(':', 7);
    if (colon == std::string_view::npos || colon + 2 != name.size()) throw std::runtime_error("bad repeat");
    return std::string(to_number(name.substr(7, colon - 7)), name.back());
  }
  throw std::runtime_error("unknown placeholder: " + std::string(name));
}

// With its newline, unless \c takes it away.
inline std::string resolve(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string_view::npos) throw std::runtime_error("'{' without '}'");
      out += placeholder(text.substr(i + 1, end - i - 1));
      i = end;
    } else if (text[i] == '\\') {
      if (++i == text.size()) throw std::runtime_error("'\\' at the end");
      switch (text[i]) {
        case '0':
          out.push_back('\0');
          break;
        case 'n':
          out.push_back('\n');
          break;
        case 't':
          out.push_back('\t');
          break;
        case '\\':
          out.push_back('\\');
          break;
        case 'c':
          if (i + 1 != text.size()) throw std::runtime_error("\\c not at the end");
          return out;
        default:
          throw std::runtime_error("unknown escape");
      }
    } else {
      out.push_back(text[i]);
    }
  }
  return out + "\n";
}

inline TranscriptLine parse_line(std::string_view text, int number) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !text.substr(colon).starts_with(": ")) {
    throw std::runtime_error("line " + std::to_string(number) + ": expected \"C0: \", \"S0: \" or \"E: \"");
  }
  const std::string_view who = text.substr(0, colon);
  const std::string_view what = text.substr(colon + 2);
  using Kind = TranscriptLine::Kind;
  if (who == "E") return {Kind::event, 0, std::string(what), number};
  const std::uint32_t connection = who.size() > 1 ? to_number(who.substr(1)) : 0;
  if (who.starts_with("C")) {
    if (what == "[eof]") return {Kind::hang_up, connection, {}, number};
    return {Kind::send, connection, resolve(what), number};
  }
  if (!who.starts_with("S"))
    throw std::runtime_error("line " + std::to_string(number) + ": expected C, S or E");
  if (what == "[close]") return {Kind::closed, connection, {}, number};
  return {Kind::receive, connection, resolve(what), number};
}

inline std::vector<Transcript> read_transcripts(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<Transcript> transcripts;
  std::string text;
  std::string heading;
  bool inside = false;
  for (int number = 1; std::getline(in, text); ++number) {
    if (inside) {
      if (text.starts_with("```")) {
        inside = false;
      } else if (!text.empty() && !text.starts_with("#")) {
        transcripts.back().lines.push_back(parse_line(text, number));
      }
      continue;
    }
    if (text.starts_with("#")) heading = text.substr(text.find_first_not_of("# "));
    if (!text.starts_with("```pmi")) continue;
    inside = true;
    Transcript transcript;
    transcript.name = file.filename().string() + ":" + std::to_string(number) + " " + heading;
    for (std::string_view options = std::string_view(text).substr(6); !options.empty();) {
      options.remove_prefix(1);
      const std::string_view option = options.substr(0, options.find(' '));
      options.remove_prefix(option.size());
      if (option.starts_with("size=")) {
        transcript.size = to_number(option.substr(5));
      } else if (option == "transport=port" || option == "transport=fd") {
        transcript.port = option == "transport=port";
      } else {
        throw std::runtime_error(transcript.name + ": unknown option " + std::string(option));
      }
    }
    transcripts.push_back(std::move(transcript));
  }
  return transcripts;
}

inline std::vector<Transcript> read_all_transcripts(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".md" && entry.path().filename() != "README.md")
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Transcript> all;
  for (const auto& file : files) {
    for (Transcript& transcript : read_transcripts(file)) all.push_back(std::move(transcript));
  }
  return all;
}

inline job::JobOptions options_of(const Transcript& transcript) {
  job::JobOptions options;
  options.kvsname = kKvsname;
  options.layout = job::Layout::single_node(transcript.size);
  options.auth.allowed_uids = {1000};
  for (std::uint32_t rank = 0; transcript.port && rank < transcript.size; ++rank) {
    options.auth.tokens.push_back(token_of(rank));
  }
  return options;
}

}  // namespace wireup::test
