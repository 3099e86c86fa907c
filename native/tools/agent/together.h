// The start of many hosts' agents by one command, such as srun, at host 0. Its stdin brings each agent the
// boot record, with which the agents join this host's hub (runtime/zmq_joins.h). Keys are nowhere else.
//
// The command starts first, because it takes longer than opening libzmq and the hub. If that fails, the
// agents' stdin ends without a record, and so do the agents.
//
// What the command writes is for people. Until all hosts have joined, its lines are kept for the message of a
// failure; then each is reported at once. Two kinds of lines show that a host will not join: that of an agent
// (kCouldNotJoin), and srun's report on a task that has ended or a node that has failed. A node that fails
// later is lost. After the loss of a host that has joined, what srun is known to write about the end of its
// tasks and its step is not reported. Other lines always are.
//
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "os/reactor.h"
#include "os/zmq_socket.h"
#include "runtime/child_process.h"
#include "runtime/host_command.h"
#include "runtime/line_reader.h"
#include "runtime/reaper.h"
#include "runtime/zmq_hub.h"
#include "runtime/zmq_joins.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// "wireup-agent: NAME could not join: REASON"
inline constexpr std::string_view kAgentPrefix = "wireup-agent: ";
inline constexpr std::string_view kCouldNotJoin = " could not join: ";

// None of the methods may destroy the Together.
class TogetherObserver {
 public:
  virtual ~TogetherObserver() = default;
  // The host has joined. If `parent` is this host, it adopts the connection. When another parent expects this
  // credential of it, answer() is called.
  virtual void on_host_joined(std::uint32_t host, std::uint32_t parent, const std::string& key) = 0;
  // The host will not join, or has failed. `message`: why, for people.
  virtual void on_host_failed(std::uint32_t host, const std::string& message) = 0;
  virtual void on_start_line(const std::string& line) = 0;
  // Once: the command has ended, or could not be started. `message`: how, for people.
  virtual void on_start_end(const std::string& message) = 0;
};

class Together {
 public:
  // Starts the command. Throws std::exception, for people: then it does not run. That it cannot be executed
  // is reported by on_start_end().
  Together(os::Reactor& reactor, runtime::Reaper& reaper, wire::agent::StartTogether start,
           TogetherObserver& observer);
  ~Together();
  Together(const Together&) = delete;
  Together& operator=(const Together&) = delete;

  // Opens the hub, and sends the boot record. Call it once, before any other method but pid(). Throws
  // ZmqMissing, OsError.
  void open();
  runtime::ZmqHub& hub() { return *hub_; }
  bool has(std::uint32_t host) const { return places_.contains(host); }
  // Whether `parent` is the child's parent, is not this host, and must expect it.
  bool is_waiting(std::uint32_t child, std::uint32_t parent) const;
  // Of a host that has joined.
  const runtime::ZmqHub::Joiner& peer(std::uint32_t host) const { return joins_->peer(host); }
  // The host's parent, which is not this host, expects it.
  void answer(std::uint32_t host);
  // For people: how the command has ended, and its last lines before all hosts had joined. Empty: neither.
  std::string last_words() const;
  // A host that had joined is lost, which the launcher reports.
  void host_lost() { is_losing_ = true; }
  // No host of it is left. The command has time to end by itself, unless `now`.
  void finish(bool now);
  bool over() const { return over_; }
  // Of the command; -1: it does not run.
  pid_t pid() const { return process_ ? process_->pid() : -1; }

 private:
  class Feed;

  void watch(runtime::StartedHostCommand& command);
  std::uint32_t parent_of(std::uint32_t host) const;
  void on_join(const wire::boot::Join& join);
  std::string last_lines() const;
  void on_line(const std::string& line);
  bool report_node_failure(const std::string& line);
  void judge_line(std::string_view line);
  void fail(std::string_view name, const std::string& message);
  void on_exit(const os::ExitStatus& status);
  void conclude_after(std::chrono::milliseconds delay);
  void conclude();
  void end_command();

  os::Reactor& reactor_;
  runtime::Reaper& reaper_;
  TogetherObserver& observer_;
  wire::agent::StartTogether start_;
  std::vector<std::string> addresses_;           // of the hub
  std::string program_;                          // for people
  std::map<std::uint32_t, std::size_t> places_;  // by host: its place in the record
  os::ZmqKeys keys_;
  std::unique_ptr<runtime::ZmqHub> hub_;
  std::unique_ptr<runtime::ZmqJoins> joins_;
  std::map<std::uint32_t, wire::boot::Join> joined_;
  std::set<std::uint32_t> waiting_;  // hosts that have joined and whose parents do not expect them yet
  std::set<std::uint32_t> failed_;
  std::unique_ptr<runtime::ChildProcess> process_;  // until it has ended
  std::unique_ptr<Feed> stdin_;
  std::unique_ptr<runtime::LineReader> stdout_;
  std::unique_ptr<runtime::LineReader> stderr_;
  std::deque<std::string> lines_;  // until all hosts have joined
  std::string how_;                // it ended, or why it does not run
  std::deque<std::string> ends_;   // srun's reports on tasks that ended after all hosts had joined
  bool is_losing_ = false;
  bool terminated_ = false;  // this host has sent the command SIGTERM
  bool finishing_ = false;
  bool over_ = false;
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::agent
