#include "runtime/link_version.h"

#include "wire/agent_messages.h"

namespace wireup::runtime {

wire::LinkGreeting own_greeting() { return {wire::agent::kProtocolVersion, WIREUP_VERSION}; }

std::string other_version(const wire::LinkGreeting& there) {
  const wire::LinkGreeting here = own_greeting();
  const std::string release = there.release.empty() ? "" : there.release + " ";
  return "another version of wireup: " + here.release + " here (protocol " + std::to_string(here.protocol) +
         "), " + release + "there (protocol " + std::to_string(there.protocol) + ")";
}

}  // namespace wireup::runtime
