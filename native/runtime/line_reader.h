// Reads lines of text from a pipe, such as the stderr of a command, and keeps the last ones.
//
// Lines become printable. Empty lines are left out, and a line is cut after kMaxTextLine bytes. The rest of a
// line without a newline is reported at the end of the pipe, or by finish().
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"

namespace wireup::runtime {

inline constexpr std::size_t kMaxTextLine = 4096;
inline constexpr std::size_t kKeptLines = 8;

class LineReader final : os::Handler {
 public:
  // `on_line` may destroy the reader. Makes the read end of the pipe non-blocking. Throws OsError.
  LineReader(os::Reactor& reactor, os::UniqueFd pipe, std::function<void(const std::string& line)> on_line);
  ~LineReader() override;
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Stops reading, or reads on. The writer waits when the pipe is full.
  void hold(bool on);
  // Reads what the pipe holds now, also if it is on hold.
  void read_now();
  // Reads what the pipe holds now, reports the last line also if it has no newline, and closes the pipe.
  void finish();
  // The last kKeptLines lines, each with a newline.
  std::string kept() const;
  void forget_kept() { kept_.clear(); }

 private:
  void on_ready(std::uint32_t events) override;
  // Returns whether there may be more. `gone` becomes true if the reader has been destroyed.
  bool read_once(bool& gone);
  // Both return false if the reader has been destroyed.
  bool take(std::string_view bytes);
  bool end_line();
  void close();

  os::Reactor& reactor_;
  os::UniqueFd pipe_;  // none after its end
  std::function<void(const std::string& line)> on_line_;
  os::Lifetime lifetime_;
  bool held_ = false;
  std::string line_;  // its beginning
  bool cut_ = false;  // the rest of the line is dropped
  std::deque<std::string> kept_;
};

}  // namespace wireup::runtime
