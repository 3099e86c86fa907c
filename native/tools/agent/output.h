// The ranks' output where the agent has a part in it: lines joined on the agent's stdout and stderr or in
// files, each behind its label, and files that ranks write to directly.
//
// Whole lines are passed on at once. The beginning of one waits for its rest, for 200 ms and as long as it is
// no longer than kMaxLine; then it is written as it is (see sink.h for what becomes of it). A long line holds
// its sink while at least kMaxLine of it come in that time. A line that a rank never ended is written when
// its pipe ends.
//
// A sink that is full stops the reading of every pipe that leads to it: the ranks wait, nothing is lost.
// Where a sink is broken the pipes to it are closed: the ranks get SIGPIPE, as they would from the reader
// itself.
//
// Memory: at most kReadSize + kMaxLine for each stream that is in the middle of a line, and one read with its
// labels a sink.
//
// Threads: the reactor's. Streams live until their pipe ends, however long the rank is gone.
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

// A pipe's default capacity: one read empties it.
inline constexpr std::size_t kReadSize = 64 << 10;
inline constexpr std::size_t kMaxLine = 64 << 10;
// How long the beginning of a line waits for its rest.
inline constexpr std::chrono::milliseconds kPartialDelay{200};

class OutputObserver {
 public:
  virtual ~OutputObserver() = default;
  // What `subject` names takes no more (errno); its streams are closed. Once for each.
  virtual void on_output_lost(int error, const std::string& subject) = 0;
  // The status line has gone for good.
  virtual void on_printed() = 0;
};

class OutputStream;

class Output final : SinkObserver {
 public:
  Output(os::Reactor& reactor, const wire::agent::Hello& plans, OutputObserver& observer);
  ~Output() override;

  // What the rank is to have as `fd`, 1 or 2, which Hello does not plan to discard: where ranks of the first
  // group inherit it, those of others are joined. Throws OsError.
  os::UniqueFd open(const RankNames& names, int fd);

  // On the terminal that stderr is, until a rank writes to it.
  void show_status(std::string_view line);

  // Call when no process is left that could write: what the pipes still hold is written, however long the
  // sinks take, then `done` is called. A pipe that an outsider holds open counts as ended once it is empty.
  void drain(std::function<void()> done);

  // Gives everything up that is not written yet.
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
  // Whether the stream may be read now; otherwise it waits for its sink.
  bool may_read(OutputStream& stream);
  // Reads once. The stream may be gone afterwards.
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
  std::shared_ptr<Sink> stderr_;  // the same as stdout_ where both lead to one pipe or terminal
  // Files that several ranks share, by name.
  std::map<std::string, os::UniqueFd> files_;
  std::map<std::string, std::shared_ptr<Sink>> file_sinks_;
  std::unordered_map<OutputStream*, std::unique_ptr<OutputStream>> streams_;
  std::unordered_map<const Sink*, std::deque<OutputStream*>> waiting_;  // for their sink, longest first
  std::unordered_set<OutputStream*> partial_;                           // in the middle of a line
  std::unordered_set<std::string> lost_;                                // names that the observer was told of
  os::Reactor::TimerId partial_timer_ = 0;
  bool serving_ = false;
  bool told_printed_ = false;
  os::Buffer buffer_;
  std::function<void()> drained_;
};

}  // namespace wireup::agent
