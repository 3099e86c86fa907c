// The agent's place in the tree of a launch (wire/agent_messages.h): the link to its parent, and the agents
// of other hosts that are its children.
//
// A packet of the parent for this host is decoded and passed to the observer. A packet for a host below a
// child is passed on to that child without decoding it, and a packet of a child to the parent. What stays on
// one edge (Fence, Release) or ends at host 0 (output and stdin of ranks) is passed to the observer.
//
// While the parent is slow, nothing is read from children, so that what waits for the parent is bounded.
//
// If a child is lost, each host below it is lost: the parent receives HostLost, and the observer a call. A
// child that sends anything invalid is lost, and one that the launcher drops.
//
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/link.h"
#include "runtime/reaper.h"
#include "runtime/zmq_hub.h"
#include "tools/agent/child_host.h"
#include "tools/agent/join.h"
#include "tools/agent/together.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class RouterObserver {
 public:
  virtual ~RouterObserver() = default;
  // A message of the parent for this host. The first one is a Hello, or an End.
  virtual void on_message(wire::agent::Message& message, std::optional<std::vector<os::UniqueFd>> fds) = 0;
  // A message of the child `child` that came from `host`, which is the child or below it: a Fence, or at host
  // 0 one about output or stdin. Returns what is wrong with the message, or nullptr.
  virtual const char* on_message_below(std::uint32_t child, std::uint32_t host,
                                       wire::agent::Message& message) = 0;
  // A packet of the parent is invalid: `fault` completes "a message of the launcher ...".
  virtual void on_invalid(const char* fault) = 0;
  virtual void on_host_lost(std::uint32_t host) = 0;
  // A message of another host, or about it, is about to be sent to the parent. What this host still has to
  // report goes first: a barrier is reported by one host, before what ranks on other hosts do after it.
  virtual void on_pass_up() = 0;
  // A child has ended after its Done, or is lost.
  virtual void on_child_gone() = 0;
  // The kernel has taken bytes for the parent, or for a child.
  virtual void on_parent_taken() = 0;
  virtual void on_child_taken(std::uint32_t child) = 0;
  // A line that the command of a child has written to stderr, with the name of its host.
  virtual void on_child_stderr(const std::string& line) = 0;
  // Once, and nothing comes from the parent after it. `fault`: why, for people; empty: the parent has closed
  // the link, or was killed.
  virtual void on_parent_gone(const std::string& fault) = 0;
};

// The link to the parent: a seqpacket socket of a launcher on this host, or (`out` is set) the two directions
// of a byte stream, or (`tree` is set) a place in a tree over ZeroMQ. `in` is then the stdin that has brought
// the boot record. If it ends before the parent is reached, the launcher is gone.
struct ParentEnd {
  os::UniqueFd in;
  os::UniqueFd out = {};
  bool same_host = false;  // the parent of a byte stream is on this host, see StartHost::same_host
  std::optional<JoinedTree> tree = {};
};

// sshd refuses some of many connections that are not authenticated yet, and a host has a limited number of
// processes. Other launchers start 32 to 128 hosts at a time.
inline constexpr std::size_t kMaxStarting = 64;

class Router final : runtime::LinkObserver, ChildHostObserver, TogetherObserver {
 public:
  // Throws OsError.
  Router(os::Reactor& reactor, ParentEnd parent, RouterObserver& observer);
  ~Router() override;

  // The number of this host. Known when the observer gets the Hello.
  std::uint32_t host() const { return host_.value_or(wire::agent::kOwnHost); }
  // The parent is an agent, or a launcher, that does not share this host's files.
  bool is_remote() const { return remote_; }

  // Sends a message of this host to the parent.
  void send(const wire::agent::Message& message);
  // The bytes for the parent that the kernel has not taken.
  std::size_t unsent() const { return parent_->unsent(); }
  // As unsent(), for a child; 0: it is lost.
  std::size_t unsent_to(std::uint32_t child) const;
  // Sends a message to the agent of another host: below this one, or host 0. Does nothing if that host is
  // lost.
  void send_to(std::uint32_t host, const wire::agent::Message& message);

  // Starts the agent of another host as a child, together with others that are asked for in this turn. At
  // most kMaxStarting commands that have not reached their hosts run at a time. Returns what is wrong with
  // the message, or nullptr.
  const char* start_host(wire::agent::StartHost start);
  // Starts the agents of hosts that join, or sends NotTogether. As start_host().
  const char* start_together(wire::agent::StartTogether start);
  // A child that joins may connect. As start_host().
  const char* expect_host(const wire::agent::ExpectHost& expected);
  // The child below which the host is; empty: none, or it is lost.
  std::optional<std::uint32_t> child_of(std::uint32_t host) const;
  // Every child has ended after its Done, or is lost, and so has the command that has started many of them.
  bool children_gone() const { return children_.empty() && (!together_ || together_->over()); }
  // The children that have not sent Done.
  std::vector<std::uint32_t> unfinished() const;
  // Ends the link to a child, which is then lost. `message`: why, for people.
  void lose(std::uint32_t child, const std::string& message) { lose(*children_.at(child), message); }
  // Refused connections of links over ZeroMQ, see ZmqHub::refused().
  std::uint64_t refused() const;
  // The processes of the commands that reach children.
  bool is_command(pid_t pid) const;
  // Closes the links to all children, so that their agents end their tasks. They are not reported as lost.
  void drop_children();

 private:
  class JoinInput;

  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_link_taken() override;
  void on_link_end(runtime::LinkEnd why, int error, const std::string& detail) override;
  void lose_parent(const std::string& fault);
  void on_child_packet(ChildHost& child, std::string_view packet) override;
  void on_child_taken(ChildHost& child) override { observer_.on_child_taken(child.host()); }
  void on_child_line(ChildHost& child, const std::string& line) override;
  void on_child_end(ChildHost& child, const std::string& message) override;

  void on_host_joined(std::uint32_t host, std::uint32_t parent, const std::string& key) override;
  void on_host_failed(std::uint32_t host, const std::string& message) override;
  void on_start_line(const std::string& line) override { observer_.on_child_stderr(line); }
  void on_start_end(const std::string& message) override;

  // The command of StartTogether may end if no child is left that it has started.
  void finish_together(bool now);
  void start_children_soon();
  void start_children();
  // At the end of the job. No task runs there, and an agent that is not reached yet would never answer.
  void drop_unready_children();
  void pass_down(const wire::agent::Header& header, std::string_view packet);
  void learn_below(std::uint32_t child, std::string_view packet);
  void refuse_below(std::uint32_t child, std::string_view packet);
  // Returns what is wrong with the packet, or nullptr.
  const char* receive(ChildHost& child, std::string_view packet);
  void lose(ChildHost& child, const std::string& message);
  void pass_up(std::string packet);
  void hold_children(bool on);

  os::Reactor& reactor_;
  RouterObserver& observer_;
  runtime::Reaper reaper_;
  std::optional<std::uint32_t> host_;
  bool remote_;
  std::unique_ptr<JoinInput> join_input_;  // until the link to the parent is up
  std::unique_ptr<runtime::Link> parent_;
  bool parent_gone_ = false;
  std::deque<std::uint32_t> to_start_;  // children without a command; some of them may be gone
  os::Reactor::TimerId start_timer_ = 0;
  std::unique_ptr<runtime::ZmqHub> hub_;  // of a host that has joined; null: it has no children
  std::unique_ptr<Together> together_;    // at host 0
  bool dropped_unready_ = false;          // of the hosts of together_
  std::map<std::uint32_t, std::unique_ptr<ChildHost>> children_;  // by host
  std::map<std::uint32_t, std::uint32_t> below_;                  // host to child, of all that were started
  bool holds_children_ = false;
  std::set<pid_t> dropped_;  // commands of children that were dropped
};

}  // namespace wireup::agent
