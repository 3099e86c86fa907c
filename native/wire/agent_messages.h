// The messages of a launch's tree. The launcher is its root, and has one child: the agent of its own host.
// Every other agent has another agent as its parent. The messages are the same on every edge.
//
// Each host has a number; 0 is the launcher's own. A packet has a header: the kind of the message, and a
// host. Downward it is the host whose agent the message is for, or kEveryHost; upward it is the host that the
// message is from. An agent handles what is for its own host and passes on the rest, without decoding it. Two
// messages stay on one edge: Fence and Release (see engine/exchange.h). Output, Input and their Credits end
// at host 0, because its agent has the launcher's stdin, stdout and stderr.
//
// File descriptors travel beside a message (SCM_RIGHTS) between the launcher and the agent of host 0 only.
// Everything else is named in the message.
//
// Most agents are started by a command of their own. Those of StartTogether are started by one command, and
// are linked over ZeroMQ (wire/boot_record.h). For each of them the launcher sends a StartHost first.
//
// A job has process group 0, which was launched, and the process groups that ranks have spawned. Every
// process of a rank is a *task*. Its number is unique in the job: Group::first_task plus the rank.
//
// The launcher sends Hello to the agent of host 0, StartHost for each other host, and at once Hello to each
// of these too: packets for a host are queued until its agent can be reached. Each agent sends Ready. Each
// process group begins with a Group, which makes its PMI servers, on every host that has ranks of it. Each
// such host replies GroupReady or GroupFailed. Then come the Programs (each in as many parts as its strings
// need) and Starts of that host's ranks. The agent replies Started or StartFailed for each rank, and Exited
// for each that was started. It sends Events and queries when they happen. A barrier of all ranks over hosts
// is reported by one agent: the lowest that has all their hosts below it, or is one of them. The launcher
// sends Signal, Status, QueryStatus, Inspect and End at any time. The agent sends Done at the end, after all
// agents below it have. If an agent loses its parent, it ends all its tasks and exits. If it loses a child,
// it sends HostLost for each host below that child.
//
// All times in messages are times of the launcher's clock: nanoseconds of its CLOCK_MONOTONIC. An agent on
// the launcher's own machine has the same clock. Every other agent adds one offset to its own
// CLOCK_MONOTONIC. To find it, it sends ClockQuery, and the launcher replies ClockAnswer. The agent assumes
// that the launcher has read its clock in the middle between the two, so the offset is wrong by at most half
// of this round trip. The agent uses the answer with the shortest round trip, and keeps the offset from the
// first Start on. So the times of one host are exact to each other, and times of two hosts by half the sum of
// both round trips. (The clocks also drift, by some microseconds a second at most while a time service
// corrects them.)
//
// decode() checks every length and count, and refuses a packet that is not exactly one message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "wire/agent/events.h"
#include "wire/agent/groups.h"
#include "wire/agent/hello.h"
#include "wire/agent/hosts.h"
#include "wire/agent/protocol.h"
#include "wire/agent/status.h"
#include "wire/agent/streams.h"
#include "wire/agent/tasks.h"

namespace wireup::wire::agent {

// The index of a message in this list is its kind on the wire.
using AnyMessage =
    std::variant<Hello, PassFds, StartHost, DropHost, Group, ForgetGroup, AdoptRank, Program, ForgetProgram,
                 Start, Signal, End, Status, Depart, SpawnAnswer, NameAnswer, BarrierAnswer, QueryStatus,
                 Fence, Release, Input, InputReaders, TaskPipes, Output, CloseOutput, Credit, Ready, HostLost,
                 GroupReady, GroupFailed, Started, StartFailed, Exited, OutputLost, Printed, Events,
                 EventsMissed, TraceLines, SpawnQuery, NameQuery, BarrierQuery, StatusReply, Done,
                 RankProcesses, ClockQuery, ClockAnswer, Inspect, InspectReply, StartTogether, NotTogether,
                 ExpectHost, Expected>;

inline constexpr std::size_t kMessageKinds = std::variant_size_v<AnyMessage>;

template <typename T>
inline constexpr bool kIsMessage = []<typename... All>(std::type_identity<std::variant<All...>>) {
  return (std::is_same_v<T, All> || ...);
}(std::type_identity<AnyMessage>());

// The kind of the message type T.
template <typename T>
requires kIsMessage<T>
constexpr std::uint8_t kind_of() {
  return []<typename... All>(std::type_identity<std::variant<All...>>) {
    std::uint8_t kind = 0;
    (void)((std::is_same_v<T, All> || (++kind, false)) || ...);
    return kind;
  }(std::type_identity<AnyMessage>());
}

// One message. Its members are in agent_messages.cpp, because for a variant of so many types the compiler
// needs longer than for everything else in most files.
class Message : public AnyMessage {
 public:
  template <typename T>
  requires kIsMessage<T> Message(T message) : Message(kind_of<T>(), &message) {}
  Message(const Message& other);
  Message(Message&& other) noexcept;
  Message& operator=(const Message& other) = delete;
  Message& operator=(Message&& other) noexcept;
  ~Message();

 private:
  // Moves the message of this kind at `from`.
  Message(std::uint8_t kind, void* from);
};

// The longest packet: a spawn of kMaxBlock bytes with its counts, or a Group of a million ranks in a cyclic
// layout.
inline constexpr std::size_t kMaxPacket = 16 << 20;
// The longest `keys` of one Fence or Release, and `bytes` of one Output or Input.
inline constexpr std::size_t kMaxPart = 64 << 10;

// What is at the beginning of every packet: one byte and 32 bits.
struct Header {
  std::uint8_t kind = 0;  // the index in Message
  std::uint32_t host = kOwnHost;
};
std::optional<Header> read_header(std::string_view packet);

std::string encode(std::uint32_t host, const Message& message);
std::optional<Message> decode(std::string_view packet);

// Splits a program into parts of at most `limit` bytes each, ready for encode(). The result is empty if a
// single string is longer than the limit. (The kernel's own limit for a string, MAX_ARG_STRLEN, is 128 KiB.)
std::vector<Program> split(Program program, std::size_t limit);

}  // namespace wireup::wire::agent
