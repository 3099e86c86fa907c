// Runs the command that starts another host's agent, such as `ssh n3 wireup-agent link`. The command's stdin
// and stdout are the link to that agent. Its stderr is read by lines.
//
// The command is the leader of a session of its own, so the terminal's signals do not reach it. If the link
// ends, or this object is destroyed, the command's stdin and stdout are closed, so that the agent behind it
// ends its tasks; a command that has not ended after a grace period is killed. A command that has not reached
// the host also receives TERM, and one whose link was silent is killed at once. It is always reaped, and
// nothing waits for it.
//
// The calling process ignores SIGPIPE. Threads: the reactor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"
#include "os/start_process.h"
#include "runtime/child_process.h"
#include "runtime/line_reader.h"
#include "runtime/link.h"
#include "runtime/reaper.h"
#include "runtime/stream_link.h"

namespace wireup::runtime {

struct HostCommandSpec {
  std::string host;                  // for people
  std::vector<std::string> command;  // not empty; command[0] is a path, or a name that is searched in PATH
  std::vector<std::string> environment;  // "NAME=value", complete
  // A file that is sent over the link first; empty: none. The command must read its size in bytes, which
  // replaces the "%s" of its last word that has one, and execute it.
  std::string stage = {};
  // The agent is on this host and has a guard, so its silence means nothing (wire::agent::StartHost).
  bool same_host = false;
};

// A command whose start has been tried.
struct StartedHostCommand {
  HostCommandSpec spec;
  std::optional<os::OsError> error = {};  // why it does not run
  Reaper::Children process = {};          // one, if it runs
  // The other ends of its stdin, stdout and stderr.
  os::UniqueFd in = {};
  os::UniqueFd out = {};
  os::UniqueFd err = {};
  os::UniqueFd staged = {};
  std::uint64_t staged_size = 0;
};

// Starts several commands at the same time, see os::start_processes(). The results have the order of the
// specs. Throws std::bad_alloc; then none runs.
std::vector<StartedHostCommand> start_host_commands(std::vector<HostCommandSpec> specs);

// For people: why a command does not run.
std::string why_not_started(const os::OsError& error);
// For people: how the command `name` has ended.
std::string how_it_ended(const std::string& name, const os::ExitStatus& status);

struct HostCommandTiming {
  LinkTiming link = {};
  // How long a command may take to end after its output has ended, and the other way round.
  std::chrono::milliseconds last_words{1000};
  std::chrono::milliseconds grace{2000};  // until it is killed
};

// All methods may destroy the HostCommand.
class HostCommandObserver {
 public:
  virtual ~HostCommandObserver() = default;
  // The agent has answered, and has the same version of the protocol.
  virtual void on_host_up() = 0;
  virtual void on_host_packet(std::string_view packet) = 0;
  // As LinkObserver::on_link_taken(): it must not destroy the HostCommand.
  virtual void on_host_taken() {}
  // A line of the command's stderr, printable and not empty.
  virtual void on_host_line(const std::string& line) = 0;
  // Called once, as the last call: the command could not be started, or it or its link has ended. `message`
  // is for people, one line: "ssh n3 ended with code 255: Permission denied (publickey)".
  virtual void on_host_end(const std::string& message) = 0;
};

class HostCommand final : LinkObserver {
 public:
  // That a command has not been started is reported by on_host_end(), in a later turn. Throws std::bad_alloc;
  // then the command is killed.
  HostCommand(os::Reactor& reactor, Reaper& reaper, StartedHostCommand started, HostCommandObserver& observer,
              HostCommandTiming timing = {});
  ~HostCommand() override;
  HostCommand(const HostCommand&) = delete;
  HostCommand& operator=(const HostCommand&) = delete;

  // As Link::send(). Packets are queued until the link is up.
  void send(std::string packet);
  // As Link::unsent(). A staged file counts too.
  std::size_t unsent() const { return link_ ? link_->unsent() : 0; }
  bool up() const { return up_; }
  // Of the command; -1: it does not run.
  pid_t pid() const { return process_ ? process_->pid() : -1; }
  // Stops reading from the link and from the command's stderr, or reads on; see StreamLink::hold().
  void hold(bool on);
  // Ends the command and its link now. `why` is the beginning of on_host_end()'s message: "no answer within
  // 60 s".
  void give_up(std::string why);

 private:
  void watch(StartedHostCommand& started);
  void on_up();
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_link_taken() override { observer_.on_host_taken(); }
  void on_link_end(LinkEnd why, int error, const std::string& detail) override;
  void on_exit(const os::ExitStatus& status);
  void conclude_after(std::chrono::milliseconds delay);
  void conclude();
  std::string message() const;
  std::string name() const;
  void close();

  os::Reactor& reactor_;
  Reaper& reaper_;
  HostCommandSpec spec_;
  HostCommandObserver& observer_;
  HostCommandTiming timing_;
  os::Lifetime lifetime_;
  std::unique_ptr<ChildProcess> process_;  // until it has ended
  std::unique_ptr<StreamLink> link_;
  std::unique_ptr<LineReader> stderr_;
  os::Reactor::TimerId timer_ = 0;  // for the end
  bool up_ = false;
  // What has happened; the first that is set decides the message.
  std::string failure_;  // the command could not be started, was given up, or its link is invalid
  std::optional<os::ExitStatus> status_;
  bool link_ended_ = false;
};

}  // namespace wireup::runtime
