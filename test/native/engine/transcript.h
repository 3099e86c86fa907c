// Reads golden transcripts (format: test/vectors/README.md).
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

#include "engine/frame.h"
#include "engine/process_group.h"

namespace wireup::test {

struct TranscriptLine {
  enum class Kind { send, hang_up, receive, closed, event } kind;
  std::uint32_t connection = 0;
  std::string text;  // with placeholders and escapes resolved
  int line = 0;
};

struct Transcript {
  std::string name;  // file, heading, line
  std::uint32_t size = 1;
  std::uint32_t per_node = 0;  // 0: all ranks on one node
  bool port = false;
  bool offer_1_2 = false;
  bool lockstep = false;
  std::string spawner;
  engine::KeyValues preput;
  std::vector<TranscriptLine> lines;
};

inline constexpr std::string_view kKvsname = "kvs_ƒ_0";
inline std::uint32_t pmi_id_of(std::uint32_t rank) { return 1'234'567'890U + rank * 7919U; }

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
  if (name.starts_with("pmi_id:")) return std::to_string(pmi_id_of(to_number(name.substr(7))));
  if (name.starts_with("repeat:")) {
    const std::size_t colon = name.find(':', 7);
    if (colon == std::string_view::npos || colon + 2 != name.size()) throw std::runtime_error("bad repeat");
    return std::string(to_number(name.substr(7, colon - 7)), name.back());
  }
  throw std::runtime_error("unknown placeholder: " + std::string(name));
}

// Resolves placeholders and escapes. Appends no newline.
inline std::string resolve_text(std::string_view text, bool& unfinished) {
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
        case 'x': {
          unsigned int byte = 0;
          const std::string_view digits = text.substr(i + 1, 2);
          const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
          if (error != std::errc() || digits.size() != 2 || stop != digits.data() + 2)
            throw std::runtime_error("bad \\x");
          out.push_back(static_cast<char>(byte));
          i += 2;
          break;
        }
        case 'c':
          if (i + 1 != text.size()) throw std::runtime_error("\\c not at the end");
          unfinished = true;
          return out;
        default:
          throw std::runtime_error("unknown escape");
      }
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// Resolves a line and appends its newline, unless the line ends with \c.
inline std::string resolve(std::string_view text) {
  bool unfinished = false;
  std::string out = resolve_text(text, unfinished);
  if (!unfinished) out.push_back('\n');
  return out;
}

// Resolves the text of an event or of a key.
inline std::string resolve_words(std::string_view text) {
  bool unfinished = false;
  return resolve_text(text, unfinished);
}

// Resolves a frame of PMI-2 and prepends its length.
inline std::string resolve_frame(std::string_view text) { return engine::frame(resolve_words(text)); }

inline TranscriptLine parse_line(std::string_view text, int number) {
  const std::size_t colon = text.find_first_of(":>");
  if (colon == std::string_view::npos || !text.substr(colon + 1).starts_with(' ')) {
    throw std::runtime_error("line " + std::to_string(number) + ": expected \"C0: \", \"S0: \" or \"E: \"");
  }
  const auto resolved = [&](std::string_view written) {
    return text[colon] == '>' ? resolve_frame(written) : resolve(written);
  };
  const std::string_view side = text.substr(0, colon);
  const std::string_view what = text.substr(colon + 2);
  using Kind = TranscriptLine::Kind;
  if (side == "E") return {Kind::event, 0, resolve_words(what), number};
  const std::uint32_t connection = side.size() > 1 ? to_number(side.substr(1)) : 0;
  if (side.starts_with("C")) {
    if (what == "[eof]") return {Kind::hang_up, connection, {}, number};
    return {Kind::send, connection, resolved(what), number};
  }
  if (!side.starts_with("S"))
    throw std::runtime_error("line " + std::to_string(number) + ": expected C, S or E");
  if (what == "[close]") return {Kind::closed, connection, {}, number};
  return {Kind::receive, connection, resolved(what), number};
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
      } else if (text.starts_with("P: ")) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos) throw std::runtime_error("a key without '='");
        transcripts.back().preput.emplace_back(text.substr(3, equals - 3),
                                               resolve_words(std::string_view(text).substr(equals + 1)));
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
      } else if (option.starts_with("per_node=")) {
        transcript.per_node = to_number(option.substr(9));
      } else if (option == "offer=1.2") {
        transcript.offer_1_2 = true;
      } else if (option.starts_with("spawner=")) {
        transcript.spawner = option.substr(8);
      } else if (option == "lockstep") {
        transcript.lockstep = true;
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

inline engine::ProcessGroupOptions options_of(const Transcript& transcript) {
  engine::ProcessGroupOptions options;
  options.kvsname = kKvsname;
  options.layout = transcript.per_node == 0 ? engine::Layout::single_node(transcript.size)
                                            : engine::Layout::by_node(transcript.size, transcript.per_node);
  options.offer_1_2 = transcript.offer_1_2;
  options.spawner = transcript.spawner;
  options.preput = transcript.preput;
  options.auth.allowed_uids = {1000};
  for (std::uint32_t rank = 0; transcript.port && rank < transcript.size; ++rank) {
    options.auth.pmi_ids.push_back(pmi_id_of(rank));
  }
  return options;
}

// The driver's answer to a spawn: it can start the program `accepted` and no other one.
inline engine::SpawnAnswer answer_to(const engine::SpawnRequest& request) {
  std::uint32_t processes = 0;
  for (const engine::SpawnCommand& command : request.commands) {
    if (command.program != "accepted")
      return {.rc = 1, .message = "no such program", .kvsname = {}, .errcodes = {}};
    processes += command.ranks;
  }
  return {
      .rc = 0, .message = {}, .kvsname = "kvs_child", .errcodes = std::vector<std::int32_t>(processes, 0)};
}

inline std::string text_of(const engine::SpawnQuery& query) {
  std::string text = "spawn rank=" + std::to_string(query.rank);
  for (const engine::SpawnCommand& command : query.spawn.commands) {
    text += " [" + std::to_string(command.ranks) + " " + command.program;
    for (const std::string& arg : command.args) text += " " + arg;
    if (!command.info.empty()) text += " |";
    for (const auto& [key, value] : command.info) text += " " + key + "=" + value;
    text += "]";
  }
  for (const auto& [key, value] : query.spawn.preput) text += " +" + key + "=" + value;
  return text;
}

}  // namespace wireup::test
