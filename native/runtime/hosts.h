// The hosts of a launch, by number, and what the launcher knows of their agents. Messages for them leave
// through the agent of the launcher's own host. They may be sent from start() on: the agents above a host
// queue them until its own agent has answered, and drop them if it never does.
//
// The hosts are a tree, in the order in which they are asked for: the first `width` are started by the agent
// of the launcher's own host, the next ones by these, `width` by each, and so on.
//
// If there are TogetherOptions, one command starts the hosts that are asked for first, or each has its own
// command after all (start_singly()). Hosts that are asked for later have their own.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "os/fd.h"
#include "runtime/agent_link.h"
#include "runtime/launch_options.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

class Hosts {
 public:
  // `link` outlives it. The launcher's own host counts as ready from the start: its agent is a child that
  // waits for its first message. `environment`: of the commands that start agents. `width`: how many hosts
  // each host starts; 0: the launcher's own host starts all. It is not 0 beside `together`.
  Hosts(AgentLink& link, std::vector<HostOptions> options, std::vector<std::string> environment,
        std::uint32_t width, std::optional<TogetherOptions> together = {});

  std::uint32_t count() const { return static_cast<std::uint32_t>(hosts_.size()); }
  // Asks for the agents of those of the hosts for which it has not asked yet. `greet` sends the first
  // messages to each of these hosts; it is called before the host is asked to start others.
  void start(const std::set<std::uint32_t>& hosts, const std::function<void(std::uint32_t)>& greet);

  // The hosts cannot be started by one command. Returns false if that was not tried.
  bool start_singly();

  // The agent has sent Ready. Returns false if that is not expected.
  bool ready(std::uint32_t host, const wire::agent::Ready& ready);
  // The agent asks for the launcher's time. Returns false if it has asked too often.
  bool asks_for_time(std::uint32_t host);
  // The host is lost. Returns false if it was lost before, or cannot be: the end of the launcher's own agent
  // is the end of the link.
  bool lose(std::uint32_t host);
  // Whether the host has been asked for and is not lost.
  bool is_there(std::uint32_t host) const {
    return host < count() && hosts_[host].asked && !hosts_[host].lost;
  }
  // The hosts whose agents have sent Ready: those that reply soon.
  std::set<std::uint32_t> ready_ones() const;
  bool is_lost(std::uint32_t host) const { return host < count() && hosts_[host].lost; }

  // For people.
  const std::string& name(std::uint32_t host) const { return hosts_[host].options.name; }
  std::vector<std::string> names(const std::vector<std::uint32_t>& hosts) const;
  // The host that starts its agent, and connects it. Not of the launcher's own host.
  std::uint32_t parent(std::uint32_t host) const { return hosts_[host].parent; }
  bool is_at_or_above(std::uint32_t host, std::uint32_t other) const;
  // Those that have been asked for, and have neither answered nor been lost.
  std::vector<std::uint32_t> unanswered() const;
  // Of the agent; 0: not known.
  std::int32_t pid(std::uint32_t host) const { return hosts_[host].pid; }

  // Does nothing if the host is not there.
  void send(std::uint32_t host, const wire::agent::Message& message, std::vector<os::UniqueFd> fds = {});
  // To all that are there.
  void send_to_all(const wire::agent::Message& message);

 private:
  struct Host {
    HostOptions options;
    bool asked = false;  // its agent was asked for, or runs from the start
    bool ready = false;
    bool lost = false;
    std::int32_t pid = 0;
    std::uint32_t clock_queries = 0;
    std::uint32_t parent = wire::agent::kOwnHost;
  };

  void ask(std::uint32_t host, bool joins);
  void start_together();

  AgentLink& link_;
  std::vector<std::string> environment_;
  std::uint32_t width_;
  std::optional<TogetherOptions> together_;  // until it is used
  std::vector<std::uint32_t> together_hosts_;
  std::vector<Host> hosts_;
  std::vector<std::uint32_t> asked_{wire::agent::kOwnHost};  // in their order
};

}  // namespace wireup::runtime
