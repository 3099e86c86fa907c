// The ranks' output that the agent handles: it joins lines on its stdout and stderr or in files, each line
// with its label, and it opens files that ranks write to directly.
//
// The agent passes whole lines on at once. The beginning of a line waits for the rest, up to 200 ms
// and up to kMaxLine bytes. Then it is written without the rest (see sink.h). A long line holds its sink as
// long as kMaxLine bytes of it arrive in each 200 ms. A line without a newline is written when its pipe ends.
//
// On another host than 0, the agent does all this too, except that its stdout and stderr are those of host 0:
// it sends what it would write as Output. The agent of host 0 joins the lines of its ranks and of the other
// hosts by the same rules, but does not delay the beginning of a line again. It also writes the output of
// other hosts' tasks to pipes of their own. It sends Credit when it has written the output.
//
// If a sink is full, the agent stops reading every pipe that leads to it, so the ranks wait and nothing is
// lost. If a sink is broken, the agent closes the pipes to it, so the ranks receive SIGPIPE, as from the
// reader itself. The agent of host 0 makes the other agents do both.
//
// Memory: at most kReadSize + kMaxLine for each stream that is in the middle of a line, and one read with its
// labels for each sink. On host 0 also kMaxUnacknowledged for each stream of each other host, and
// kMaxTaskUnacknowledged for each pipe of a task.
//
// Threads: the reactor's. A stream lives until its pipe ends, which may be after its rank has ended.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/fd_sink.h"
#include "tools/agent/host_messages.h"
#include "tools/agent/link_sink.h"
#include "tools/agent/output_stream.h"
#include "tools/agent/pattern.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// The default capacity of a pipe, so one read empties it.
inline constexpr std::size_t kReadSize = 64 << 10;

class OutputObserver {
 public:
  virtual ~OutputObserver() = default;
  // Writing to `subject` failed with `error` (errno), and its streams are closed. Called once for each
  // subject.
  virtual void on_output_lost(int error, const std::string& subject) = 0;
  // The status line is gone and will not be shown again.
  virtual void on_printed() = 0;
};

class Output final : SinkObserver, PipeStreamOwner, HostStreamOwner {
 public:
  Output(os::Reactor& reactor, const wire::agent::Hello& plans, HostMessages& hosts,
         OutputObserver& observer);
  ~Output() override;

  // Opens the rank's fd 1 or 2. Not for output that Hello's plan discards. If the plan is to inherit, this
  // joins the output, for ranks of spawned process groups and of other hosts than 0. Throws OsError.
  os::UniqueFd open(const RankNames& names, int fd);
  // Opens the task's fd 1 or 2 for a pipe that host 0 has. Not on host 0. Throws OsError.
  os::UniqueFd open_task(std::uint32_t task, int fd);

  // Whether ranks of the launched process group write to the agent's stdout themselves.
  bool inherits_stdout() const { return own_host_ && out_.mode == wire::agent::OutputMode::inherit; }

  // Shows a line on stderr, if that is a terminal, until a rank writes to it.
  void show_status(std::string_view line);

  // Call it when no process of the job is left on this host. Writes what the pipes still contain and what has
  // arrived of other hosts, without a time limit, and then calls `done`. A pipe that a process outside the
  // job holds open counts as ended when it is empty. Can be called again, when more has arrived.
  void drain(std::function<void()> done);

  // Discards everything that is not yet written, and everything that arrives later.
  void drop();

  // Messages of other hosts to host 0, and of the launcher to host 0. Each returns what is wrong with the
  // message, or nullptr. Without `fds` (they exceeded the limit of open files) the ranks receive SIGPIPE.
  const char* handle(std::uint32_t host, wire::agent::Output output);
  const char* handle(const wire::agent::TaskPipes& pipes, std::optional<std::vector<os::UniqueFd>> fds);
  // Its output is written as far as it has arrived.
  void lose_host(std::uint32_t host);
  // The hosts whose output has arrived and is not yet written: they may have to wait for this host.
  std::set<std::uint32_t> hosts_that_wait() const;

  // Messages of host 0 to another host.
  const char* handle(const wire::agent::Credit& credit);
  const char* handle(const wire::agent::CloseOutput& close);

 private:
  const wire::agent::OutputPlan& plan(int fd) const;
  std::shared_ptr<Sink> joined(int fd);
  std::shared_ptr<Sink> make_joined(int fd);
  std::shared_ptr<Sink> make_link(std::uint32_t stream, std::int64_t task, bool labelled);
  os::UniqueFd open_file(const RankNames& names, const std::string& pattern);
  os::UniqueFd open_stream(const RankNames& names, std::shared_ptr<Sink> sink);

  void on_sink_ready(Sink& sink) override;
  void on_stream_ready(OutputStream& stream) override;
  void on_stream_credit(const Lane& lane) override;
  OutputStream& add(std::unique_ptr<OutputStream> stream);
  void add_lane(const Lane& lane, std::shared_ptr<Sink> sink);
  // Whether the stream may be read now. If not, it waits for its sink.
  bool may_read(OutputStream& stream);
  void wait(OutputStream& stream);
  // Reads once. May destroy the stream.
  void read_some(OutputStream& stream);
  // Reads all that has been pushed to it, unless it must wait. May destroy the stream.
  void read_pushed(HostStream& stream);
  void written(const std::shared_ptr<Sink>& sink);
  void serve_waiting(Sink& sink);
  void end(OutputStream& stream);
  void close_lane(const Lane& lane, int error);
  void close_streams_of(const Sink& sink);
  void expect_rest(OutputStream& stream);
  void flush_partials();
  void drain_some();
  bool all_written() const;
  void send_credit(HostStream& stream);
  void send_credits();

  os::Reactor& reactor_;
  HostMessages& hosts_;
  OutputObserver& observer_;
  const bool own_host_;  // this is host 0
  wire::agent::OutputPlan out_;
  wire::agent::OutputPlan err_;
  std::string label_;
  std::string spawned_label_;
  std::shared_ptr<Sink> stdout_;
  std::shared_ptr<Sink> stderr_;  // same as stdout_ if both are one pipe or terminal
  FdSink* terminal_ = nullptr;    // stderr_ on host 0
  // Files that several ranks share, by name.
  std::map<std::string, os::UniqueFd> files_;
  std::map<std::string, std::shared_ptr<Sink>> file_sinks_;
  // Not on host 0: what leads there, by stream and task.
  std::map<std::pair<std::uint32_t, std::int64_t>, std::shared_ptr<LinkSink>> links_;
  std::unordered_map<OutputStream*, std::unique_ptr<OutputStream>> streams_;
  // On host 0. Null: it is closed, and its host has been notified.
  std::map<Lane, HostStream*> lanes_;
  std::set<Lane> owed_;  // credit is due
  os::Reactor::TimerId credit_timer_ = 0;
  std::unordered_map<const Sink*, std::deque<OutputStream*>> waiting_;  // by sink, in order of arrival
  std::unordered_set<OutputStream*> partial_;                           // in the middle of a line
  std::unordered_set<std::string> lost_;                                // subjects that were reported
  os::Reactor::TimerId partial_timer_ = 0;
  bool serving_ = false;
  bool reported_printed_ = false;
  bool dropped_ = false;
  os::Buffer buffer_;
  std::function<void()> drained_;
};

}  // namespace wireup::agent
