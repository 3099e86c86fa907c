// Joins the lines of many ranks on the agent's stdout, its stderr, or in a file.
//
// While a line arrives, no line of another source splits it: a source that has begun a line holds the sink
// until the line ends, and other sources must not append (held_from()). A source that becomes silent in the
// middle of a line releases the sink. Its line stays open, and the next source cuts it. With labels the cut
// is visible: the first part ends with "...", and the rest begins with "..." after its label. Without labels
// a cut only adds a newline.
//
// The sink queues what the fd does not take. The owner must not append while blocked(), which limits the
// memory. Threads: the reactor's.
#pragma once

#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class Sink;

// One stream of one rank, whose lines a sink joins.
class LineSource {
 public:
  virtual ~LineSource() = default;
  // Appends the label that precedes each of its lines.
  virtual void append_label(std::string& out) const = 0;

 private:
  friend class Sink;
  bool cut_ = false;  // its last line was cut, and has not ended
};

class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  // A blocked sink has room again, or is broken. flush() never calls it.
  virtual void on_sink_ready(Sink& sink) = 0;
};

class Sink final : os::Handler {
 public:
  // For the agent's own fd 1 or 2. `name` is for people.
  Sink(os::Reactor& reactor, int fd, std::string name, bool labelled, SinkObserver& observer);
  // For a file.
  Sink(os::Reactor& reactor, os::UniqueFd file, std::string name, bool labelled, SinkObserver& observer);
  ~Sink() override;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // `text` is lines with their newlines. The last line may be incomplete; then the source holds the sink.
  // Must not be called while held_from(source).
  void append(LineSource& source, std::string_view text);
  // The source is silent, so its line may be cut.
  void release(const LineSource& source);
  // The source has ended. With labels, a line that it left open gets a newline.
  void end(const LineSource& source);
  bool held_from(const LineSource& source) const { return held_ && open_ != &source; }

  // Shows a line on the terminal until the first append(). An empty line removes it. Does nothing after the
  // first append(), or if the fd is not a terminal.
  void show_status(std::string_view line);
  // Whether lines have been written to this terminal.
  bool printed() const { return printed_; }

  void flush();
  // Discards what is not yet written.
  void drop();
  bool blocked() const { return watched_; }
  // Whether writing has failed (EPIPE: the reader has gone). The sink then discards everything.
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
  LineSource* open_ = nullptr;  // the source of the open line, while it may continue it
  bool held_ = false;
  bool status_ = false;
  bool printed_ = false;
  bool watched_ = false;
  int error_ = 0;
};

}  // namespace wireup::agent
