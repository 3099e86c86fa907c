// The ranks' output that the agent handles: it joins lines on its stdout and stderr or in files, each line
// with its label, and it opens files that ranks write to directly.
//
// The agent passes whole lines on at once. The beginning of a line waits for the rest, up to 200 ms
// and up to kMaxLine bytes. Then it is written without the rest (see sink.h). A long line holds its sink as
// long as kMaxLine bytes of it arrive in each 200 ms. A line without a newline is written when its pipe ends.
//
// If a sink is full, the agent stops reading every pipe that leads to it, so the ranks wait and nothing is
// lost. If a sink is broken, the agent closes the pipes to it, so the ranks receive SIGPIPE, as from the
// reader itself.
//
// Memory: at most kReadSize + kMaxLine for each stream that is in the middle of a line, and one read with its
// labels for each sink.
//
// Threads: the reactor's. A stream lives until its pipe ends, which may be after its rank has ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/pattern.h"
#include "tools/agent/sink.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// The default capacity of a pipe, so one read empties it.
inline constexpr std::size_t kReadSize = 64 << 10;
inline constexpr std::size_t kMaxLine = 64 << 10;
// How long the beginning of a line waits for the rest.
inline constexpr std::chrono::milliseconds kPartialDelay{200};

class OutputObserver {
 public:
  virtual ~OutputObserver() = default;
  // Writing to `subject` failed with `error` (errno), and its streams are closed. Called once for each
  // subject.
  virtual void on_output_lost(int error, const std::string& subject) = 0;
  // The status line is gone and will not be shown again.
  virtual void on_printed() = 0;
};

class OutputStream;

class Output final : SinkObserver {
 public:
  Output(os::Reactor& reactor, const wire::agent::Hello& plans, OutputObserver& observer);
  ~Output() override;

  // Opens the rank's fd 1 or 2. Not for output that Hello's plan discards. If the plan is to inherit, this
  // joins the output, for ranks of spawned process groups. Throws OsError.
  os::UniqueFd open(const RankNames& names, int fd);

  // Shows a line on stderr, if that is a terminal, until a rank writes to it.
  void show_status(std::string_view line);

  // Call it when no process of the job is left. Writes what the pipes still contain, without a time limit,
  // and then calls `done`. A pipe that a process outside the job holds open counts as ended when it is empty.
  void drain(std::function<void()> done);

  // Discards everything that is not yet written.
  void drop();

 private:
  friend class OutputStream;

  const wire::agent::OutputPlan& plan(int fd) const;
  const std::string& label_of(const RankNames& names) const {
    return names.group == 0 ? label_ : spawned_label_;
  }
  std::shared_ptr<Sink> joined(int fd);
  os::UniqueFd open_file(const RankNames& names, const std::string& pattern);
  os::UniqueFd open_stream(const RankNames& names, std::shared_ptr<Sink> sink);

  void on_sink_ready(Sink& sink) override;
  void on_stream_ready(OutputStream& stream);
  // Whether the stream may be read now. If not, it waits for its sink.
  bool may_read(OutputStream& stream);
  // Reads once. May destroy the stream.
  void read_some(OutputStream& stream);
  void written(const std::shared_ptr<Sink>& sink);
  void serve_waiting(Sink& sink);
  void forget(OutputStream& stream);
  void close_streams_of(const Sink& sink);
  void expect_rest(OutputStream& stream);
  void flush_partials();
  void drain_some();
  bool all_written() const;

  os::Reactor& reactor_;
  OutputObserver& observer_;
  wire::agent::OutputPlan out_;
  wire::agent::OutputPlan err_;
  std::string label_;
  std::string spawned_label_;
  std::shared_ptr<Sink> stdout_;
  std::shared_ptr<Sink> stderr_;  // same as stdout_ if both are one pipe or terminal
  // Files that several ranks share, by name.
  std::map<std::string, os::UniqueFd> files_;
  std::map<std::string, std::shared_ptr<Sink>> file_sinks_;
  std::unordered_map<OutputStream*, std::unique_ptr<OutputStream>> streams_;
  std::unordered_map<const Sink*, std::deque<OutputStream*>> waiting_;  // by sink, in order of arrival
  std::unordered_set<OutputStream*> partial_;                           // in the middle of a line
  std::unordered_set<std::string> lost_;                                // subjects that were reported
  os::Reactor::TimerId partial_timer_ = 0;
  bool serving_ = false;
  bool reported_printed_ = false;
  os::Buffer buffer_;
  std::function<void()> drained_;
};

}  // namespace wireup::agent
