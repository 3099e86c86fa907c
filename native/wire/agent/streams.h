// The messages that carry stdin and output between hosts, the flow control for them, and the status line. See
// wire/agent_messages.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace wireup::wire::agent {

// From host 0: bytes of the launcher's stdin for all readers of the receiver's host; no bytes: the end. Host
// 0 sends none before it has received InputReaders.
struct Input {
  std::string bytes;
};

// To host 0: all readers of stdin on the sender's host have started, or could not be started. `left`: whether
// one still reads. If none is left, now or later, host 0 no longer sends Input to this host.
struct InputReaders {
  bool left = true;
};

// For host 0: pipes for the output of tasks on another host, one attached fd for each task. Sent before the
// Start of these tasks. Host 0 closes the fd at the end of the output, or when the host is lost.
struct TaskPipes {
  std::uint32_t host = 0;
  std::uint32_t stream = 1;  // 1 or 2
  std::vector<std::uint32_t> tasks;
};

// A line that earlier Output of the same stream has begun and not ended.
enum class OpenLine : std::uint8_t {
  continues,  // `bytes` continue it, or there is none
  cut,        // `bytes` begin a line of another rank. The rest follows later
  ended,      // it is complete without a newline
};

// To host 0: output of ranks. `stream` is 1 or 2. Whole lines, except the parts of a line that is too long or
// late.
//
// If `task` is set, the bytes are the unchanged output of this task, for its pipe. No bytes: the end.
struct Output {
  std::uint32_t stream = 1;
  std::int64_t task = -1;
  std::string bytes;  // may be empty if `open_line` is `ended`
  OpenLine open_line = OpenLine::continues;
  // The label of the line that `bytes` continue. Host 0 needs it if it has cut this line.
  std::string label = {};
};

// From host 0: it cannot write this output any more. The receiver closes the pipes of the ranks that write
// it, so that they receive SIGPIPE.
struct CloseOutput {
  std::uint32_t stream = 1;
  std::int64_t task = -1;
  std::int32_t error = 0;  // errno
};

// The receiver of Input or Output has written so many bytes (see cost()) of `stream` (0: Input) and `task`
// (as in Output). Without it, a sender sends at most kMaxUnacknowledged bytes of a stream, or
// kMaxTaskUnacknowledged of one task's output.
struct Credit {
  std::uint32_t stream = 0;
  std::int64_t task = -1;
  std::uint32_t bytes = 0;
};
inline constexpr std::uint32_t kMaxUnacknowledged = 256 << 10;
// As much as a pipe holds.
inline constexpr std::uint32_t kMaxTaskUnacknowledged = 64 << 10;

// What an Output counts for. It includes what the receiver needs to queue the message, so that small messages
// cannot take more memory than large ones.
inline std::size_t cost(const Output& output) {
  constexpr std::size_t kQueued = 96;
  return output.bytes.empty() ? 0 : output.bytes.size() + output.label.size() + kQueued;
}

// Output could not be written to `subject`, the agent's stdout or stderr or a file. EPIPE: the reader has
// closed the pipe, which is not reported to the user.
struct OutputLost {
  std::int32_t error = 0;  // errno
  std::string subject;
};

// A status line, if the agent's stderr is a terminal. An empty line removes it. The agent stops showing it
// after it has sent Printed.
struct Status {
  std::string line;
};

// A rank has written to the terminal. The agent shows no status line from now on.
struct Printed {};

}  // namespace wireup::wire::agent
