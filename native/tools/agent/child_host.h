// The agent of another host that is a child of this agent in the tree: the command that reaches it, and how
// far it has come. Its command starts later than it is asked for if many others are being started.
//
// The agent of a host that joins (StartHost::joins) has no command of its own: its link is made when this
// host expects it.
//
// What the command writes to stderr before the agent is ready is kept for the message of a failure. After
// that each line is reported at once.
//
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/host_command.h"
#include "runtime/link.h"
#include "runtime/reaper.h"
#include "runtime/zmq_hub.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class ChildHost;

// All methods may destroy the ChildHost.
class ChildHostObserver {
 public:
  virtual ~ChildHostObserver() = default;
  virtual void on_child_packet(ChildHost& child, std::string_view packet) = 0;
  // unsent() has decreased. It must not destroy the ChildHost.
  virtual void on_child_taken(ChildHost& child) = 0;
  // A line of stderr, for people.
  virtual void on_child_line(ChildHost& child, const std::string& line) = 0;
  // Once, as the last call. `message`: why, for people.
  virtual void on_child_end(ChildHost& child, const std::string& message) = 0;
};

class ChildHost final : runtime::HostCommandObserver, runtime::LinkObserver {
 public:
  ChildHost(os::Reactor& reactor, runtime::Reaper& reaper, wire::agent::StartHost start,
            ChildHostObserver& observer);
  ~ChildHost() override;
  ChildHost(const ChildHost&) = delete;
  ChildHost& operator=(const ChildHost&) = delete;

  std::uint32_t host() const { return start_.host; }
  runtime::HostCommandSpec spec() const;
  // `command`: the command of spec(), whose start has been tried. If it does not run, on_child_end() is
  // called in a later turn. Throws std::bad_alloc.
  void start(runtime::StartedHostCommand command);
  // For a host that joins: limits the time of its start, from now on.
  void wait_for_join();
  bool joins() const { return start_.joins; }
  // The host has joined, and connects to the hub with this credential; or its connection, on which it has
  // joined, becomes the link. The hub outlives the ChildHost.
  void expect(runtime::ZmqHub& hub, const std::string& credential);
  void adopt(runtime::ZmqHub& hub, const runtime::ZmqHub::Joiner& peer);
  bool expected() const { return link_ != nullptr; }
  // It is reached by a command after all.
  void reach_by_command(wire::agent::StartHost start);
  // The command runs, and the agent has not answered.
  bool starting() const { return command_ && !ready_; }
  // Stops reading from the agent, or reads on. Call it after start() or expect().
  void hold(bool on) {
    if (command_) command_->hold(on);
    if (link_) link_->hold(on);
  }
  // Packets are queued until the agent can be reached.
  void send(std::string packet);
  // As Link::unsent(), while the agent can be reached.
  std::size_t unsent() const { return command_ ? command_->unsent() : link_ ? link_->unsent() : 0; }
  // The agent has sent Ready, within the time limit of the start.
  void set_ready();
  bool ready() const { return ready_; }
  // The agent has sent Done: the end of its link is no loss. It comes soon, or on_child_end() is called.
  void set_done();
  bool done() const { return done_; }
  // The agent has not sent Ready within the time limit.
  bool late() const { return late_; }
  // Of the command; -1: it does not run.
  pid_t pid() const { return command_ ? command_->pid() : -1; }

 private:
  void on_host_up() override {}
  void on_host_packet(std::string_view packet) override { observer_.on_child_packet(*this, packet); }
  void on_host_taken() override { observer_.on_child_taken(*this); }
  void on_host_line(const std::string& line) override;
  void on_host_end(const std::string& message) override { observer_.on_child_end(*this, message); }
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>>) override {
    observer_.on_child_packet(*this, packet);
  }
  void on_link_taken() override { observer_.on_child_taken(*this); }
  void on_link_end(runtime::LinkEnd, int, const std::string& detail) override {
    observer_.on_child_end(*this, detail);
  }
  void limit_start();
  void take(std::unique_ptr<runtime::ZmqLink> link);

  os::Reactor& reactor_;
  runtime::Reaper& reaper_;
  wire::agent::StartHost start_;
  ChildHostObserver& observer_;
  std::vector<std::string> packets_;  // until the command is started, or the host expected
  std::deque<std::string> lines_;     // until the agent is ready
  bool ready_ = false;
  bool done_ = false;
  bool late_ = false;
  os::Reactor::TimerId timer_ = 0;  // until the agent is ready; until it has ended after Done
  std::unique_ptr<runtime::HostCommand> command_;
  std::unique_ptr<runtime::ZmqLink> link_;
};

}  // namespace wireup::agent
