// What a launcher and wireup-agent say to each other, as bytes. One message is one packet; fds travel beside
// it (SCM_RIGHTS), in the order in which the message names them. Messages name hosts, processes and fds
// explicitly: nothing but the fds assumes that both are on one machine.
//
// A launch may have several groups of ranks: the first, 0, and those that ranks have spawned. Beside its
// group and rank, which are for names, each process has a number of the launcher's that no other in the
// launch has.
//
// Launcher to agent: Hello, then PassFds, then SocketFolder, then Program (in as many parts as its strings
// need), then Start, for each group, then Signal, Status, End. Agent to launcher: Ready, then a Started or
// StartFailed for each process and an Exited for each that was started, OutputLost and Printed where that
// happens, then Done. When the launcher's end of the socket closes, the agent ends every process and itself.
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

// Raised with every change of a message. A new field has its place in the struct here, in fields() in the
// .cpp (one that is forgotten there is not sent, and no compiler sees it) and in the test's samples.
inline constexpr std::uint32_t kProtocolVersion = 4;

// The agent's exit codes beside 0, an orderly end, and 1: the launcher has gone, or spoke nonsense.
inline constexpr int kExitNoLauncher = 2;  // nobody who speaks these messages has started it
inline constexpr int kExitStopped = 3;     // it was stopped by a signal, so all was killed

enum class OutputMode : std::uint8_t {
  inherit,  // the rank writes to the agent's own stdout or stderr
  merge,    // the agent joins the ranks' whole lines there, each behind its label
  file,     // files named by a pattern, made anew; with a label, whole lines
  discard,  // /dev/null
};

// Where the ranks' stdout or stderr goes.
struct OutputPlan {
  OutputMode mode = OutputMode::inherit;
  std::string file = {};  // the pattern
};

enum class BindingUnit : std::uint8_t {
  none,
  hwthread,
  core,
  socket,
  list,  // the CPU sets that are said, in turn
};

// To which CPUs ranks are bound: the n-th rank that the agent is told to start to the n-th unit, from the
// first again when there are no more.
struct Binding {
  BindingUnit unit = BindingUnit::none;
  std::vector<std::vector<std::uint32_t>> sets = {};  // of `list`
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  OutputPlan out = {};
  OutputPlan err = {};
  // Put before each line, where not empty. In it, and in the names of files: %r rank, %h the rank's host, %p
  // the number of its node, %g of its group, %t seconds since 1970 (a label's only), %% a percent sign.
  std::string label = {};
  std::string spawned_label = {};  // of the groups beside the first
  // How many ranks of this agent will read its stdin, each all of it. It is read when the last of them has
  // started; where there are none it is let go of at once.
  std::uint32_t stdin_readers = 0;
  Binding binding = {};
  // What ranks are to have of the launcher's caller: the numbers of signals that are ignored, beside those
  // that are ignored in the agent, and that are blocked; the soft limit of open files, 0: the agent's own.
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;
};

// Fds of the launcher's caller, one attached for each number, that every rank gets under that number; none is
// named in a StartRank. Before the first Start, as often as their count needs.
struct PassFds {
  std::vector<std::int32_t> fds;
};

// A folder with the socket of a PMI server, which the agent removes when its launcher was killed.
struct SocketFolder {
  std::string path;
};

// A program and the environment that its ranks share. Lists are appended part by part; `last` ends them.
// `directory` and `path` are said in the first part only.
struct Program {
  std::uint32_t id = 0;
  std::string directory;  // empty: the agent's own
  std::string path;       // where `prefix[0]` and `args[0]` are searched; empty: PATH of `environment`
  std::vector<std::string> prefix;  // put before the program: the exec shim, a debugger. prefix[0] is a path
  std::vector<std::string> args;    // args[0] is the program
  std::vector<std::string> environment;
  bool last = true;
};

struct StartRank {
  std::uint32_t task = 0;
  std::uint32_t group = 0;
  std::uint32_t rank = 0;
  std::vector<std::string> environment = {};  // beside the program's
  // One attached fd each, with the number that the rank is to see it under; 1 and 2 take the place of Hello's
  // plans.
  std::vector<std::int32_t> fds = {};
  std::uint32_t node = 0;
  std::string host = {};      // the node's name, in labels and names of files; empty: this host's
  bool pretend_host = false;  // gethostname() is to say `host` too, where the kernel lets us
  bool reads_stdin = false;   // otherwise /dev/null
  bool silent = false;        // its output is discarded
};

struct Start {
  std::uint32_t program = 0;
  std::vector<StartRank> ranks;
  // Of this program, which the agent may forget. Without ranks it does no more than that, whether it knows
  // the program or not.
  bool last = false;
};

// A signal for the process groups of the processes named; an empty list means all. TSTP stops them as STOP
// does.
struct Signal {
  std::int32_t signal = 0;
  std::vector<std::uint32_t> tasks;
};

// End the job: TERM to what still runs, KILL after the grace; the agent answers Done and leaves.
// With nothing running it ends what the ranks left behind. Output that is not taken holds up the Done of the
// first End; a further one says how long it may.
struct End {
  std::uint32_t grace_ms = 0;
};

// A line for the terminal that the agent's stderr is, gone for good when the ranks write to it; empty: none.
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
  std::vector<std::uint32_t> cpus = {};  // that it is bound to; none: it is not
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
  std::int32_t value = 0;  // exit code or signal
  bool core_dumped = false;
  bool ended = false;  // it ran when the agent began to end the job
};

// The agent's stdout or stderr takes no more (EPIPE: its reader has gone, so nobody is to be told), or a file
// does not.
struct OutputLost {
  std::int32_t error = 0;  // errno
  std::string subject;
};

// Ranks have written to the terminal: no status line will be shown any more.
struct Printed {};

// Every rank has exited, all output is written, no descendant is left.
struct Done {};

// A message's place here is its kind on the wire.
using Message = std::variant<Hello, SocketFolder, Program, Start, Signal, End, Status, Ready, Started,
                             StartFailed, Exited, OutputLost, Printed, Done, PassFds>;

std::string encode(const Message& message);
std::optional<Message> decode(std::string_view packet);

// Splits a program into parts of at most `limit` bytes each, ready to encode(). Empty when one string alone
// is larger than that (the kernel's own MAX_ARG_STRLEN is 128 KiB).
std::vector<Program> split(Program program, std::size_t limit);

}  // namespace wireup::wire::agent
