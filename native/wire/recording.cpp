#include "wire/recording.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "wire/printable.h"
#include "wire/utf8.h"

namespace wireup::wire {
namespace {

constexpr std::string_view kMask = "***";

void append_number(std::string& out, std::uint64_t value) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (!character.valid) return false;
    text.remove_prefix(character.size);
  }
  return true;
}

bool is_plain(char c) {
  return static_cast<std::uint8_t>(c) >= 0x20 && static_cast<std::uint8_t>(c) < 0x80 && c != '"' && c != '\\';
}

// The content of a JSON string. `text` is UTF-8.
void append_escaped(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view part = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < part.size() ? static_cast<std::uint8_t>(part[i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i) out += i <= part.size() ? kDigits[bits >> (18 - 6 * i) & 0x3f] : '=';
  }
}

void append_content(std::string& out, std::string_view content) {
  if (std::ranges::all_of(content, is_plain)) {
    ((out += R"(,"text":")") += content) += '"';
  } else if (is_utf8(content)) {
    out += R"(,"text":")";
    append_escaped(out, content);
    out += '"';
  } else {
    out += R"(,"base64":")";
    append_base64(out, content);
    out += '"';
  }
}

// A text for people: bytes that are not UTF-8 are shown.
void append_member(std::string& out, std::string_view name, std::string_view text) {
  ((out += ",\"") += name) += "\":\"";
  append_escaped(out, is_utf8(text) ? text : std::string_view(printable(text)));
  out += '"';
}

void append_member(std::string& out, std::string_view name, std::uint64_t value) {
  ((out += ",\"") += name) += "\":";
  append_number(out, value);
}

void append_head(std::string& out, const RecordHead& head) {
  out += R"({"t":)";
  append_number(out, head.time);
  append_member(out, "group", head.group);
  if (head.rank) append_member(out, "rank", *head.rank);
  if (head.connection) append_member(out, "conn", *head.connection);
  if (!head.host.empty()) append_member(out, "host", head.host);
}

// `0.001234 3: `, `0.001234 1.3: ` in a spawned group, `0.001234 ?: ` without a rank.
void append_text_head(std::string& out, const RecordHead& head) {
  constexpr std::uint64_t kSecond = 1'000'000;
  append_number(out, head.time / kSecond);
  const std::string digits = std::to_string(kSecond + head.time % kSecond);
  (out += '.').append(digits, 1);
  out += ' ';
  if (head.group != 0) {
    append_number(out, head.group);
    out += '.';
  }
  if (head.rank) {
    append_number(out, *head.rank);
  } else {
    out += '?';
    if (head.connection) append_number(out, *head.connection);
  }
  out += ": ";
}

std::string text_of(const RecordedEvent& event) {
  std::string text(event.event);
  if (event.count > 0) text += " " + std::to_string(event.count) + " records";
  if (event.lost) text += " without finalize";
  if (!event.peer.empty()) (text += " ") += event.peer;
  if (event.uid) text += " uid " + std::to_string(*event.uid);
  if (event.pid) text += " pid " + std::to_string(*event.pid);
  if (!event.reason.empty()) (text += ": ") += event.reason;
  return text;
}

bool separates(char c) { return c == ' ' || c == '\t' || c == ';' || c == '\n'; }

bool is_usual(const CutMessage& message) {
  const std::string length = std::to_string(message.content.size());
  return length.size() <= kFrameHeader &&
         message.length == std::string(kFrameHeader - length.size(), ' ') + length;
}

}  // namespace

void append_header(std::string& out, const RecordingHeader& header) {
  out += R"({"wireupTrace":1)";
  append_member(out, "start", header.start);
  append_member(out, "by", header.by);
  if (!header.version.empty()) append_member(out, "version", header.version);
  if (!header.host.empty()) append_member(out, "host", header.host);
  if (header.size) append_member(out, "size", *header.size);
  out += "}\n";
}

void append_record(std::string& out, RecordForm form, const RecordHead& head, Side side,
                   const CutMessage& message, bool masked) {
  const char letter = side == Side::client ? 'C' : 'S';
  if (form == RecordForm::text) {
    append_text_head(out, head);
    out += letter;
    out += message.framing == Framing::raw ? "~ " : ": ";
    if (std::ranges::all_of(message.content, is_plain)) {
      out += message.content;
    } else {
      out += printable(message.content);
    }
    out += '\n';
    return;
  }
  append_head(out, head);
  (out += R"(,"dir":")") += letter;
  switch (message.framing) {
    case Framing::line:
      out += R"(","wire":"1")";
      break;
    case Framing::frame:
      out += R"(","wire":"2")";
      if (!masked && !is_usual(message)) append_member(out, "length", message.length);
      break;
    case Framing::raw:
      out += R"(","wire":"raw")";
      break;
  }
  append_content(out, message.content);
  if (masked) out += R"(,"masked":true)";
  out += "}\n";
}

void append_record(std::string& out, RecordForm form, const RecordHead& head, const RecordedEvent& event) {
  if (form == RecordForm::text) {
    append_text_head(out, head);
    (out += printable(text_of(event))) += '\n';
    return;
  }
  append_head(out, head);
  append_member(out, "event", event.event);
  if (!event.reason.empty()) append_member(out, "reason", event.reason);
  if (!event.peer.empty()) append_member(out, "peer", event.peer);
  if (event.uid) append_member(out, "uid", *event.uid);
  if (event.pid && *event.pid >= 0) append_member(out, "pid", static_cast<std::uint32_t>(*event.pid));
  if (event.lost) out += R"(,"lost":true)";
  if (event.count > 0) append_member(out, "count", event.count);
  out += "}\n";
}

std::optional<std::string> mask_secrets(const CutMessage& message) {
  if (message.framing == Framing::raw) return std::string(kMask);
  std::string_view left = message.content;
  std::string masked;
  bool found = false;
  for (;;) {
    // Also inside a word, in case the client has forgotten a separator.
    const std::size_t name = std::min({left.find("pmiid="), left.find("pmirank="), left.find("srcid=")});
    if (name == std::string_view::npos) break;
    found = true;
    const std::size_t value = left.find('=', name) + 1;
    (masked += left.substr(0, value)) += kMask;
    left.remove_prefix(value);
    left = left.substr(static_cast<std::size_t>(std::ranges::find_if(left, separates) - left.begin()));
  }
  masked += left;
  if (!found) return std::nullopt;
  return masked;
}

}  // namespace wireup::wire
