// What a launcher and wireup-agent say to each other, as bytes. One message is one packet; fds travel beside
// it (SCM_RIGHTS), in the order in which the message names them. Messages name hosts, ranks and fds
// explicitly: nothing but the fds assumes that both are on one machine.
//
// Launcher to agent: Hello, then Program (in as many parts as its strings need), then Spawn, then Signal,
// End. Agent to launcher: Ready, then a Started or SpawnFailed for each rank and an Exited for each that was
// started, then Done. When the launcher's end of the socket closes, the agent ends every process and itself.
//
// decode() checks every length and count and refuses what is not exactly one message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace wireup::wire::agent {

inline constexpr std::uint32_t kProtocolVersion = 1;

// The agent's exit codes beside 0, an orderly end, and 1: the launcher has gone, or spoke nonsense.
inline constexpr int kExitNoLauncher = 2;  // nobody who speaks these messages has started it
inline constexpr int kExitStopped = 3;     // it was stopped by a signal, so all was killed

enum class OutputMode : std::uint8_t {
  inherit,  // ranks write to the agent's own stdout and stderr
  label,    // whole lines, each behind "[rank] "
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  OutputMode output = OutputMode::inherit;
  // The rank that reads the agent's stdin; -1: none. All others read /dev/null.
  std::int32_t stdin_rank = -1;
};

// A program and the environment that its ranks share. Lists are appended part by part; `last` ends them.
// `directory` is said in the first part only.
struct Program {
  std::uint32_t id = 0;
  std::string directory;            // empty: the agent's own
  std::vector<std::string> prefix;  // put before the program: the exec shim, a debugger. prefix[0] is a path
  std::vector<std::string> args;    // args[0] is the program, searched in the PATH of `environment`
  std::vector<std::string> environment;
  bool last = true;
};

struct SpawnRank {
  std::uint32_t rank = 0;
  std::vector<std::string> environment;  // beside the program's
  // One attached fd each, with the number that the rank is to see it under.
  std::vector<std::int32_t> fds;
};

struct Spawn {
  std::uint32_t program = 0;
  std::vector<SpawnRank> ranks;
};

// A signal for the process groups of the ranks named; an empty list means all.
struct Signal {
  std::int32_t signal = 0;
  std::vector<std::uint32_t> ranks;
};

// End the job: TERM to what still runs, KILL after the grace; the agent answers Done and leaves.
// With nothing running it ends what the ranks left behind.
struct End {
  std::uint32_t grace_ms = 0;
};

struct Ready {
  std::uint32_t version = kProtocolVersion;
  std::int32_t pid = 0;
  std::string host;
};

struct Started {
  std::uint32_t rank = 0;
  std::int32_t pid = 0;
};

struct SpawnFailed {
  std::uint32_t rank = 0;
  std::int32_t error = 0;  // errno
  std::string syscall;
  std::string subject;
};

struct Exited {
  std::uint32_t rank = 0;
  bool signaled = false;
  std::int32_t value = 0;  // exit code or signal
  bool core_dumped = false;
  bool ended = false;  // it ran when the agent began to end the job
};

// Every rank has exited, all output is written, no descendant is left.
struct Done {};

// A message's place here is its kind on the wire.
using Message = std::variant<Hello, Program, Spawn, Signal, End, Ready, Started, SpawnFailed, Exited, Done>;

std::string encode(const Message& message);
std::optional<Message> decode(std::string_view packet);

// Splits a program into parts of at most `limit` bytes each, ready to encode(). Empty when one string alone
// is larger than that (the kernel's own MAX_ARG_STRLEN is 128 KiB).
std::vector<Program> split(Program program, std::size_t limit);

}  // namespace wireup::wire::agent
