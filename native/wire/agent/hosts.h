// The messages that start and lose the agents of other hosts, and by which an agent learns the launcher's
// clock. See wire/agent_messages.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wire/agent/protocol.h"

namespace wireup::wire::agent {

// Starts the agent of another host, as a child of the receiver. The receiver starts some of its children at a
// time; the time limit of each begins with its command.
struct StartHost {
  std::uint32_t host = 0;
  std::string name;  // for people
  // Executed with the link as its stdin and stdout. command[0] is a path or name.
  std::vector<std::string> command;
  std::vector<std::string> environment;
  // A file of the receiver's host that is sent over the link before the agent's own messages; empty: none.
  // The command must read its size in bytes, which replaces the "%s" of its last word that has one, and
  // execute it.
  std::string stage = {};
  std::uint32_t timeout_ms = 0;  // until the agent has sent Ready; 0: none
  // The command is an agent on the receiver's own host, for a pretended one. Its guard finds out whether it
  // is stopped, so its silence means nothing: on a machine with too many processes it may last long.
  bool same_host = false;
  // The agent is one of those that StartTogether starts: there is no command, and its parent waits for
  // ExpectHost. If host 0 has sent NotTogether, a second StartHost brings the command.
  bool joins = false;
};

// To host 0: one command starts the agents of all these hosts, whose StartHosts have been sent.
struct StartTogether {
  std::vector<std::string> command;  // its stdin reaches each agent
  std::vector<std::string> environment;
  std::vector<std::uint32_t> hosts;     // in the order of their places in the tree
  std::vector<std::string> names = {};  // by which each agent finds itself, one for each host
  std::uint32_t width = 1;              // see boot::Record
  std::string iface = {};               // see runtime/listen_addresses.h
  bool insecure = false;                // the links are neither encrypted nor authenticated
};

// From host 0: it cannot start the agents by one command. Nothing has been started.
struct NotTogether {
  std::string reason;  // for people
};

// From host 0 to the parent of a host that has joined: the credential of that host, see runtime/zmq_hub.h.
struct ExpectHost {
  std::uint32_t host = 0;
  std::string key;
};

// To host 0: the parent expects the host.
struct Expected {
  std::uint32_t host = 0;
};

// For a host that the launcher does not trust any more. The parent of that host's agent ends the link to it
// and sends HostLost for all hosts below it.
struct DropHost {
  std::string message;  // why, for people
};

struct Ready {
  std::uint32_t version = kProtocolVersion;
  std::int32_t pid = 0;
  std::string host;
};

// Asks for a ClockAnswer. An agent sends at most kMaxClockQueries of them, each after the answer to the one
// before.
struct ClockQuery {
  std::uint64_t sent_ns = 0;  // of the agent's own clock
};
inline constexpr std::uint32_t kMaxClockQueries = 4;

struct ClockAnswer {
  std::uint64_t sent_ns = 0;  // as in the query
  std::uint64_t now_ns = 0;
};

// The agent of the host could not be started, or has ended, or is silent. `message` is the reason, for
// people, with the last lines that its command has written to stderr.
struct HostLost {
  std::uint32_t host = 0;
  bool was_ready = false;
  std::string message;
  bool late = false;  // it has not answered within StartHost::timeout_ms
};

}  // namespace wireup::wire::agent
