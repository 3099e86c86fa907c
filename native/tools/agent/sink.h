// Joins the lines of many sources: ranks, and on host 0 other hosts. The derived classes write them: FdSink
// to an fd of this host, LinkSink to the agent of host 0.
//
// While a line arrives, no line of another source splits it: a source that has begun a line holds the sink
// until the line ends, and other sources must not append (held_from()). A source that becomes silent in the
// middle of a line releases the sink. Its line stays open, and the next source cuts it. With labels the cut
// is visible: the first part ends with "...", and the rest begins with "..." after its label. Without labels
// a cut only adds a newline.
//
// The sink queues what cannot be written yet. The owner must not append while blocked(), which limits the
// memory. Threads: the reactor's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace wireup::agent {

class Sink;

// What a sink joins: lines of one stream of one rank, or of one host.
class LineSource {
 public:
  virtual ~LineSource() = default;

 protected:
  // `labelled`: its text contains the labels.
  explicit LineSource(bool labelled) : labelled_(labelled) {}

 private:
  friend class Sink;
  // Appends the label of its next line. If its text contains the labels: of the line that its next text
  // continues.
  virtual void append_label(std::string& out) const = 0;
  // All that it has appended is written.
  virtual void on_written() {}

  const bool labelled_;
  bool cut_ = false;  // its last line was cut, and has not ended
};

class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  // A blocked sink has room again, or is broken, or everything is written. flush() never calls it.
  virtual void on_sink_ready(Sink& sink) = 0;
};

class Sink : public std::enable_shared_from_this<Sink> {
 public:
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // `text` is lines with their newlines. The last line may be incomplete; then the source holds the sink.
  // Must not be called while held_from(source).
  void append(LineSource& source, std::string_view text);
  // The source is silent, so its line may be cut.
  void release(const LineSource& source);
  // Cuts the source's line, if it is open. The source itself marks the rest.
  void cut(LineSource& source);
  // The source has ended, or its line has ended without a newline. With labels, a line that it left open gets
  // a newline.
  virtual void end(LineSource& source);
  // The source is being destroyed.
  void forget(const LineSource& source);
  bool held_from(const LineSource& source) const { return held_ && open_ != &source; }

  virtual void flush() = 0;
  // Discards what is not yet written.
  virtual void drop() = 0;
  virtual bool blocked() const = 0;
  // Whether everything is written, or will never be.
  virtual bool done() const { return !blocked(); }
  // Whether writing has failed (EPIPE: the reader has gone). The sink then discards everything.
  bool broken() const { return error_ != 0; }
  int error() const { return error_; }
  // For people. Empty: its loss is not reported by this agent.
  const std::string& name() const { return name_; }

 protected:
  Sink(std::string name, bool labelled) : name_(std::move(name)), labelled_(labelled) {}

  // Text of the source is about to be appended.
  virtual void before_text(const LineSource& source) = 0;
  // A line begins although the one before it has no newline. `cut`: the rest of that line follows later.
  virtual void break_line(bool cut) = 0;

  // The source's label; empty without labels.
  std::string label_of(const LineSource& source) const;
  // Call it when all of pending_ is written.
  void written();

  std::string pending_;
  int error_ = 0;

 private:
  void begin_line(LineSource& source);
  void close_line();

  const std::string name_;
  const bool labelled_;
  bool line_open_ = false;
  LineSource* open_ = nullptr;  // the source of the open line, while it may continue it
  bool held_ = false;
  LineSource* unwritten_ = nullptr;  // the source of pending_
};

}  // namespace wireup::agent
