// How output and stdin reach the agents of other hosts. Output and Input use it and know no links.
#pragma once

#include <cstdint>

#include "wire/agent_messages.h"

namespace wireup::agent {

class HostMessages {
 public:
  virtual ~HostMessages() = default;
  // Sends a message to the agent of `host`: from host 0 to another host, or from another host to host 0. It
  // must not call its caller before it returns. It ignores a message for a host that is lost.
  virtual void send_to(std::uint32_t host, wire::agent::Message message) = 0;
};

}  // namespace wireup::agent
