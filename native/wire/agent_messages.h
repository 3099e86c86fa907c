// The messages between a launcher and wireup-agent. Each message is one packet. File descriptors travel
// beside it (SCM_RIGHTS) in the order in which the message names them. Only the fds require both processes
// to be on one host: everything else is named in the message.
//
// A job has process group 0, which was launched, and the process groups that ranks have spawned. Every
// process of a rank is a *task*. Its number is unique in the job; its process group and rank are only for
// display.
//
// The launcher sends Hello, PassFds and SocketFolder. For each process group it sends Program (in as many
// parts as its strings need) and Start. It sends Signal, Status and End at any time after that. The agent
// sends Ready, then Started or StartFailed for each task, and Exited for each task that was started. It sends
// OutputLost and Printed when they happen, and Done at the end. If the launcher closes its end of the socket,
// the agent ends all tasks and exits.
//
// decode() checks every length and count, and refuses a packet that is not exactly one message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace wireup::wire::agent {

// Increase this with every change of a message. A new field must be added in three places: to the struct
// below, to fields() in agent_messages.cpp (the compiler does not notice if it is missing there, and the
// field is not sent), and to the samples in the test. For Hello, visit_fields() replaces fields(), and the
// compiler does notice.
inline constexpr std::uint32_t kProtocolVersion = 4;

// Exit codes of the agent. Others: 0 after Done; 1 if the launcher closed the socket or sent an invalid
// message.
inline constexpr int kExitNoLauncher = 2;  // the agent was not started by a launcher
inline constexpr int kExitStopped = 3;     // a signal ended the agent; it has killed all tasks

enum class OutputMode : std::uint8_t {
  inherit,  // the rank writes to the agent's own stdout or stderr
  merge,    // the agent writes whole lines of all ranks there, each after its label
  file,     // to files that a pattern names; with a label, in whole lines. Existing files are replaced
  discard,  // /dev/null
};

// Where the ranks' stdout or stderr goes.
struct OutputPlan {
  OutputMode mode = OutputMode::inherit;
  std::string file = {};  // mode `file`: the pattern, see Hello::label
};

enum class BindingUnit : std::uint8_t {
  none,
  hwthread,
  core,
  socket,
  list,  // the CPU sets in Binding::sets, in turn
};

// The CPUs to which the agent binds ranks. The n-th rank that it starts is bound to the n-th unit. After the
// last unit the first one follows again.
struct Binding {
  BindingUnit unit = BindingUnit::none;
  std::vector<std::vector<std::uint32_t>> sets = {};  // unit `list`: CPU numbers
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  OutputPlan out = {};
  OutputPlan err = {};
  // The text before each line of output; empty: none. Labels and the patterns of files replace %r by the
  // rank, %h by its host, %p by the number of its node, %g by the number of its process group, %t by the
  // seconds since 1970 (labels only), and %% by a percent sign.
  std::string label = {};
  std::string spawned_label = {};  // the label of spawned process groups
  // How many ranks of this agent get a copy of its stdin. The agent begins to read when the last of them has
  // started. If it is 0, the agent closes its stdin at once.
  std::uint32_t stdin_readers = 0;
  Binding binding = {};
  // Ranks inherit these from the process that called the launcher: the numbers of ignored signals (in
  // addition to those that the agent itself ignores), the numbers of blocked signals, and the soft limit of
  // open files (0: the agent's own limit).
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;

  // Calls `visit` with all fields, in their order on the wire. A new field that is missing here does not
  // compile.
  template <typename HelloOrConst, typename Visit>
  static void visit_fields(HelloOrConst& hello, Visit visit) {
    auto& [version_, out_, err_, label_, spawned_label_, stdin_readers_, binding_, ignored_signals_,
           blocked_signals_, soft_files_] = hello;
    visit(version_, out_, err_, label_, spawned_label_, stdin_readers_, binding_, ignored_signals_,
          blocked_signals_, soft_files_);
  }
};

// File descriptors that every rank inherits, one attached fd for each number. Ranks see them under these
// numbers, and StartRank::fds must not contain them. The launcher sends as many of these messages as it
// needs, all before the first Start.
struct PassFds {
  std::vector<std::int32_t> fds;
};

// A folder with the socket of a PMI server. The agent removes it if its launcher has been killed.
struct SocketFolder {
  std::string path;
};

// A program and the environment that its ranks share. If one packet is too small, several Programs with the
// same id follow each other: their lists are concatenated, `directory` and `path` are only in the first, and
// `last` is only set in the last.
struct Program {
  std::uint32_t id = 0;
  std::string directory;            // the working directory; empty: the agent's own
  std::string path;                 // searched for `prefix[0]` and `args[0]`; empty: PATH of `environment`
  std::vector<std::string> prefix;  // words before the program: wireup-exec, a debugger. prefix[0] is a path
  std::vector<std::string> args;    // args[0] is the program
  std::vector<std::string> environment;
  bool last = true;
};

struct StartRank {
  std::uint32_t task = 0;
  std::uint32_t group = 0;
  std::uint32_t rank = 0;
  std::vector<std::string> environment = {};  // in addition to the program's
  // The numbers under which the rank sees the attached fds, one for each. An fd with the number 1 or 2
  // replaces the output plan of Hello.
  std::vector<std::int32_t> fds = {};
  std::uint32_t node = 0;
  std::string host = {};      // the node's name in labels and names of files; empty: this host's
  bool pretend_host = false;  // gethostname() returns `host` too, if the kernel permits that
  bool reads_stdin = false;   // false: its stdin is /dev/null
  bool silent = false;        // the agent discards its output
};

struct Start {
  std::uint32_t program = 0;
  std::vector<StartRank> ranks;
  // No other Start of this program follows, and the agent may forget it. A Start without ranks is only used
  // for that; it may name a program that the agent does not know.
  bool last = false;
};

// Sends a signal to the POSIX process groups of the tasks; an empty list means all tasks. SIGTSTP is sent as
// SIGSTOP, so that it always stops the task.
struct Signal {
  std::int32_t signal = 0;
  std::vector<std::uint32_t> tasks;
};

// Ends the job: SIGTERM to all tasks that run, SIGKILL after the grace period. If no task runs, the agent
// ends the descendants that ranks have left. The agent then sends Done and exits. Done waits until all output
// is written; after a second End it waits for grace_ms at most.
struct End {
  std::uint32_t grace_ms = 0;
};

// A status line, if the agent's stderr is a terminal. An empty line removes it. The agent stops showing it
// after it has sent Printed.
struct Status {
  std::string line;
};

struct Ready {
  std::uint32_t version = kProtocolVersion;
  std::int32_t pid = 0;
  std::string host;
};

struct Started {
  std::uint32_t task = 0;
  std::int32_t pid = 0;
  std::vector<std::uint32_t> cpus = {};  // the CPUs to which it is bound; empty: it is not bound
};

struct StartFailed {
  std::uint32_t task = 0;
  std::int32_t error = 0;  // errno
  std::string syscall;
  std::string subject;
};

struct Exited {
  std::uint32_t task = 0;
  bool signaled = false;
  std::int32_t value = 0;  // the exit code, or the signal if `signaled`
  bool core_dumped = false;
  bool ended = false;  // it still ran when the agent began to end the job
};

// Output could not be written to `subject`, the agent's stdout or stderr or a file. EPIPE: the reader has
// closed the pipe, which is not reported to the user.
struct OutputLost {
  std::int32_t error = 0;  // errno
  std::string subject;
};

// A rank has written to the terminal. The agent shows no status line from now on.
struct Printed {};

// Every task has exited, all output is written, and no descendant is left.
struct Done {};

// The index of a message in this list is its kind on the wire.
using Message = std::variant<Hello, SocketFolder, Program, Start, Signal, End, Status, Ready, Started,
                             StartFailed, Exited, OutputLost, Printed, Done, PassFds>;

std::string encode(const Message& message);
std::optional<Message> decode(std::string_view packet);

// Splits a program into parts of at most `limit` bytes each, ready for encode(). The result is empty if a
// single string is longer than the limit. (The kernel's own limit for a string, MAX_ARG_STRLEN, is 128 KiB.)
std::vector<Program> split(Program program, std::size_t limit);

}  // namespace wireup::wire::agent
