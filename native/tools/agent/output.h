// The output of ranks in label mode: whole lines, each behind "[rank] ", on the agent's stdout and stderr.
//
// A line that a rank never ended is written with its label when the pipe ends, and gets the newline it lacks,
// so that it is not glued to somebody else's. A line longer than kMaxLine is written in pieces; a later piece
// has no label unless another rank's output came between.
//
// A sink that is full stops the reading of every pipe that leads to it: the ranks wait, nothing is lost.
// Where a sink is broken the pipes to it are closed: the ranks get SIGPIPE, as they would from the reader
// itself.
//
// Threads: the reactor's. Streams live until their pipe ends, however long the rank is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/sink.h"

namespace wireup::agent {

// A pipe's default capacity: one read empties it.
inline constexpr std::size_t kReadSize = 64 << 10;
inline constexpr std::size_t kMaxLine = 64 << 10;

class LabelledStream;

class Output final : SinkObserver {
 public:
  explicit Output(os::Reactor& reactor);
  ~Output() override;

  // A new pipe whose read end we label; returns the end for the rank. `fd` is 1 or 2. Throws OsError.
  os::UniqueFd open(std::uint32_t rank, int fd);

  // Call when no process is left that could write: what the pipes still hold is written, however long the
  // sinks take, then `done` is called. A pipe that an outsider holds open counts as ended once it is empty.
  void drain(std::function<void()> done);

  // Gives everything up that is not written yet.
  void drop();

 private:
  friend class LabelledStream;

  void on_sink_ready(Sink& sink) override;
  void on_stream_ready(LabelledStream& stream);
  // Reads once. The stream may be gone afterwards.
  void read_some(LabelledStream& stream);
  void close_streams_of(const Sink& sink);
  void drain_some();

  os::Reactor& reactor_;
  std::unique_ptr<Sink> stdout_;
  std::unique_ptr<Sink> stderr_;  // empty when stdout_ serves both
  std::unordered_map<LabelledStream*, std::unique_ptr<LabelledStream>> streams_;
  std::vector<char> buffer_;
  std::function<void()> drained_;
};

}  // namespace wireup::agent
