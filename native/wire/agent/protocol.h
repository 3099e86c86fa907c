// The version of the messages of a launch's tree, the numbers of hosts in them, and the agent's exit codes;
// see wire/agent_messages.h.
#pragma once

#include <cstdint>

namespace wireup::wire::agent {

// Increase this with every change of a message, and of when and by which agent it is sent. A new field must
// be added in three places: to the struct, to fields() in wire/agent_messages.cpp (the compiler does not
// notice if it is missing there, and the field is not sent), and to the samples in the test. For Hello,
// visit_fields() replaces fields(), and the compiler does notice.
inline constexpr std::uint32_t kProtocolVersion = 17;

// The number of the launcher's own host.
inline constexpr std::uint32_t kOwnHost = 0;
// Downward only: every agent.
inline constexpr std::uint32_t kEveryHost = 0xffffffff;

// Exit codes of the agent. Others: 0 after Done; 1 if the launcher closed the socket or sent an invalid
// message.
inline constexpr int kExitNoLauncher = 2;  // the agent was not started by a launcher
inline constexpr int kExitStopped = 3;     // a signal had stopped the agent, and its guard has killed it
inline constexpr int kExitHung = 4;        // the agent's loop hung, and its guard has killed it

}  // namespace wireup::wire::agent
