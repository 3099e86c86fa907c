// A place where the lines of many ranks are joined: the agent's stdout, its stderr, or a file.
//
// A line is never split by another source's while it keeps coming: a source that has begun one holds the sink
// until the line ends, and nobody else appends meanwhile (held_from). A source that has fallen silent in the
// middle of a line releases it: its line stays open, and is cut by whoever comes next. With labels a cut
// shows: the first part ends with
// "...", and what comes later of that line begins with "..." behind its label. Without labels nothing is
// added but the newline.
//
// What the fd does not take waits here; the owner stops feeding while blocked(), which bounds the memory.
// Threads: the reactor's.
#pragma once

#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class Sink;

// Who writes lines: one stream of one rank.
class LineSource {
 public:
  virtual ~LineSource() = default;
  // Put before each of its lines.
  virtual void append_label(std::string& out) const = 0;

 private:
  friend class Sink;
  bool cut_ = false;  // its last line was, and goes on
};

class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  // A blocked sink has room again, or is broken. Never called from within flush().
  virtual void on_sink_ready(Sink& sink) = 0;
};

class Sink final : os::Handler {
 public:
  // The agent's own fd 1 or 2. `name` is for people.
  Sink(os::Reactor& reactor, int fd, std::string name, bool labelled, SinkObserver& observer);
  // A file.
  Sink(os::Reactor& reactor, os::UniqueFd file, std::string name, bool labelled, SinkObserver& observer);
  ~Sink() override;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Lines with their newlines; the last may be the beginning or a piece of one, and then the source holds the
  // sink. Not while held_from(source).
  void append(LineSource& source, std::string_view text);
  // The source is silent: its line may be cut.
  void release(const LineSource& source);
  // The source has no more to say. A line that it left open gets its newline where there are labels.
  void end(const LineSource& source);
  bool held_from(const LineSource& source) const { return held_ && open_ != &source; }

  // A line on the terminal, taken away before the first append(); empty: taken away now. Nothing happens on
  // what is no terminal, and after that.
  void show_status(std::string_view line);
  // Lines have been written to this terminal.
  bool printed() const { return printed_; }

  void flush();
  // What has not been written yet is given up.
  void drop();
  bool blocked() const { return watched_; }
  // Writing failed (EPIPE: the reader has gone); everything is dropped from then on.
  bool broken() const { return error_ != 0; }
  int error() const { return error_; }
  const std::string& name() const { return name_; }

 private:
  void on_ready(std::uint32_t events) override;
  void watch(bool on);
  void begin_line(LineSource& source);
  void close_line();

  os::Reactor& reactor_;
  SinkObserver& observer_;
  std::string name_;
  os::UniqueFd file_;
  Stdio out_;
  const bool labelled_;
  const bool terminal_;
  std::string pending_;
  bool line_open_ = false;
  LineSource* open_ = nullptr;  // whose it is, while that one may go on with it
  bool held_ = false;
  bool status_ = false;
  bool printed_ = false;
  bool watched_ = false;
  int error_ = 0;
};

}  // namespace wireup::agent
