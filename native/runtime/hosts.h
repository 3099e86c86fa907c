// The hosts of a launch, by number, and what the launcher knows of their agents. Messages for them leave
// through the agent of the launcher's own host. They may be sent from start_others() on: the agents above a
// host queue them until its own agent has answered, and drop them if it never does.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
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
  // waits for its first message. `environment`: of the commands that start agents.
  Hosts(AgentLink& link, std::vector<HostOptions> options, std::vector<std::string> environment);

  std::uint32_t count() const { return static_cast<std::uint32_t>(hosts_.size()); }
  // Asks for the agents of those of the hosts for which it has not asked yet, and returns these hosts. They
  // can be sent messages at once.
  std::vector<std::uint32_t> start(const std::set<std::uint32_t>& hosts);

  // The agent has sent Ready. Returns false if that is not expected.
  bool ready(std::uint32_t host, const wire::agent::Ready& ready);
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
  };

  AgentLink& link_;
  std::vector<std::string> environment_;
  std::vector<Host> hosts_;
};

}  // namespace wireup::runtime
