// Writes the records of a recording: as JSON lines, which docs/trace.md describes and lib/trace/format.ts
// reads, or as lines of text for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/message_splitter.h"

namespace wireup::wire {

enum class RecordForm : std::uint8_t { text, json };

// What all records have.
struct RecordHead {
  std::uint64_t time = 0;  // microseconds since the start of the recording
  std::uint32_t group = 0;
  std::optional<std::uint32_t> rank = {};        // empty: the connection has not identified itself
  std::optional<std::uint32_t> connection = {};  // its number, without a rank and when its rank becomes known
  std::string_view host = {};                    // empty: the host of the recording
};

// Something that happens to a connection. `event` is one of those in docs/trace.md.
struct RecordedEvent {
  std::string_view event;
  std::string_view reason = {};
  std::string_view peer = {};
  std::optional<std::uint32_t> uid = {};
  std::optional<std::int32_t> pid = {};
  bool lost = false;
  std::uint64_t count = 0;  // 0: none
};

// The first line of a recording as JSON lines. lib/trace/format.ts describes the members.
struct RecordingHeader {
  std::uint64_t start = 0;
  std::string_view by;
  std::string_view version = {};
  std::string_view host = {};
  std::optional<std::uint32_t> size = {};
};
void append_header(std::string& out, const RecordingHeader& header);

// Appends one line. `masked`: secrets in the message have been replaced.
void append_record(std::string& out, RecordForm form, const RecordHead& head, Side side,
                   const CutMessage& message, bool masked = false);
void append_record(std::string& out, RecordForm form, const RecordHead& head, const RecordedEvent& event);

// The message with `***` in place of each PMI_ID: the values of `pmiid`, `pmirank` and `srcid` (which Slurm's
// library sends in fullinit). Empty: it has none. Of raw bytes nothing is left, because a secret may be cut
// at their ends.
std::optional<std::string> mask_secrets(const CutMessage& message);

}  // namespace wireup::wire
