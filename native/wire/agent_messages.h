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
// for each that was started. It sends Events and queries when they happen. The launcher sends Signal, Status,
// QueryStatus, Inspect and End at any time. The agent sends Done at the end, after all agents below it have.
// If an agent loses its parent, it ends all its tasks and exits. If it loses a child, it sends HostLost for
// each host below that child.
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

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace wireup::wire::agent {

// Increase this with every change of a message. A new field must be added in three places: to the struct
// below, to fields() in agent_messages.cpp (the compiler does not notice if it is missing there, and the
// field is not sent), and to the samples in the test. For Hello, visit_fields() replaces fields(), and the
// compiler does notice.
inline constexpr std::uint32_t kProtocolVersion = 15;

// The number of the launcher's own host.
inline constexpr std::uint32_t kOwnHost = 0;
// Downward only: every agent.
inline constexpr std::uint32_t kEveryHost = 0xffffffff;

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

// A soft limit; ~0: unlimited.
struct Limit {
  std::uint32_t resource = 0;  // RLIMIT_...
  std::uint64_t value = 0;
};

// What ranks inherit from the process that called the launcher, if their host is another one. An agent of the
// launcher's host has inherited it itself.
struct Inherited {
  std::uint32_t umask = 0;
  std::int32_t nice = 0;
  // The agent takes the smaller one of these and its own hard limits. RLIMIT_NOFILE is in Hello::soft_files.
  std::vector<Limit> limits = {};
};

// What a host records of the PMI connections of its ranks.
struct TracePlan {
  bool on = false;
  bool json = false;           // the form; see wire/recording.h
  bool secrets = false;        // PMI_IDs are recorded too
  std::uint64_t start_ns = 0;  // when the recording has started
  // The first and the last rank of each range of ranks, in every process group; empty: all ranks.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranks = {};
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::uint32_t host = kOwnHost;  // the number of the receiver's host
  std::string name = {};  // the host's name in messages, labels and names of files; empty: gethostname()
  OutputPlan out = {};
  OutputPlan err = {};
  // The text before each line of output; empty: none. Labels and the patterns of files replace %r by the
  // rank, %h by its host, %p by the number of its node, %g by the number of its process group, %t by the
  // seconds since 1970 (labels only), and %% by a percent sign.
  std::string label = {};
  std::string spawned_label = {};  // the label of spawned process groups
  // How many ranks of this host get a copy of the launcher's stdin.
  std::uint32_t stdin_readers = 0;
  // Host 0 only: the other hosts that have readers of stdin. The agent of host 0 begins to read when all
  // readers on all hosts have started. If there are none, it closes its stdin at once.
  std::vector<std::uint32_t> stdin_hosts = {};
  Binding binding = {};
  // Ranks inherit these from the process that called the launcher: the numbers of ignored signals (in
  // addition to those that the agent itself ignores), the numbers of blocked signals, and the soft limit of
  // open files (0: the agent's own limit).
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;
  Inherited inherited = {};     // other hosts only
  std::uint64_t kvs_limit = 0;  // in bytes, of all process groups; see engine/space.h
  TracePlan trace = {};
  std::uint64_t sent_ns = 0;  // when the launcher has sent it

  // Calls `visit` with all fields, in their order on the wire. A new field that is missing here does not
  // compile.
  template <typename HelloOrConst, typename Visit>
  static void visit_fields(HelloOrConst& hello, Visit visit) {
    auto& [version_, host_, name_, out_, err_, label_, spawned_label_, stdin_readers_, stdin_hosts_, binding_,
           ignored_signals_, blocked_signals_, soft_files_, inherited_, kvs_limit_, trace_, sent_ns_] = hello;
    visit(version_, host_, name_, out_, err_, label_, spawned_label_, stdin_readers_, stdin_hosts_, binding_,
          ignored_signals_, blocked_signals_, soft_files_, inherited_, kvs_limit_, trace_, sent_ns_);
  }
};

// File descriptors that every rank of host 0 inherits, one attached fd for each number. Ranks see them under
// these numbers, and StartRank::fds must not contain them. The launcher sends as many of these messages as it
// needs, all before the first Start.
struct PassFds {
  std::vector<std::int32_t> fds;
};

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

enum class PmiMode : std::uint8_t { fd, port };

// The kind of PMI_ID; lib/identity.ts describes them.
enum class PmiIdKind : std::uint8_t { number, hexadecimal, rank };

// `count` ranks after those of the run before, on one node and in one application.
struct PlaceRun {
  std::uint32_t count = 0;
  std::uint32_t node = 0;
  std::uint32_t appnum = 0;
};

struct Node {
  std::uint32_t host = kOwnHost;  // the number of the host that it is on
  std::string name = {};     // in labels, names of files and pretended host names; empty: the host's name
  std::uint32_t number = 0;  // in labels and names of files
};

struct PrivateParent {
  std::string variable;
  std::string path;
};

// A process group. The agent makes its PMI server if its host has ranks of the group, and takes part in its
// barriers.
struct Group {
  std::uint32_t number = 0;
  std::uint32_t first_task = 0;
  std::string kvsname;
  std::vector<PlaceRun> layout;  // all ranks
  std::vector<Node> nodes;       // by the layout's number of the node
  bool pretend_hosts =
      false;  // gethostname() in the ranks returns the node's name, if the kernel permits that
  std::uint32_t universe_size = 0;  // 0: the size of the process group
  bool offer_1_2 = false;
  bool strict = false;
  std::uint64_t reported_entries = 0;  // see engine::ProcessGroupOptions
  std::string spawner = {};
  std::vector<std::pair<std::string, std::string>> preput = {};
  // Which peers may connect; see engine::AuthPolicy. No uid: that of the agent itself. Users can have other
  // uids on other hosts.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> allowed_uids = {};
  std::vector<std::string> allowed_hosts = {};
  PmiIdKind pmi_id = PmiIdKind::number;
  std::uint32_t handshake_timeout_ms = 0;
  bool reconnect = false;
  bool descendants_only = false;
  PmiMode pmi = PmiMode::fd;
  std::int32_t channel_fd = 0;  // the number of PMI_FD in ranks
  // Mode `port`: where the server listens, see runtime::ListenOptions.
  std::string address = {};
  std::uint32_t first_port = 0;  // 0: any
  std::uint32_t last_port = 0;
  std::vector<PrivateParent> private_parents = {};
};

// The process group is over on all hosts: its server is closed, and its number is not used again.
struct ForgetGroup {
  std::uint32_t group = 0;
};

// Rank 0 of the group is a process that runs already. The attached fd is its PMI connection.
struct AdoptRank {
  std::uint32_t group = 0;
  std::int32_t pid = 0;
};

// A program and the environment that its ranks share. If one packet is too small, several Programs with the
// same id follow each other: their lists are concatenated, `directory`, `path` and `exec_shim` are only in
// the first, and `last` is only set in the last.
struct Program {
  std::uint32_t id = 0;
  std::string directory;            // the working directory; empty: the agent's own
  std::string path;                 // searched for `prefix[0]` and `args[0]`; empty: PATH of `environment`
  std::vector<std::string> prefix;  // words before the program: a debugger. prefix[0] is a path or name
  std::vector<std::string> args;    // args[0] is the program
  std::vector<std::string> environment;
  bool last = true;
  // Between `prefix` and `args` comes wireup-exec: the program of that name in the folder of the agent.
  bool exec_shim = false;
};

struct StartRank {
  std::uint32_t rank = 0;
  std::uint32_t program = 0;
  // The numbers under which the rank sees the attached fds, one for each. An fd with the number 1 or 2
  // replaces the output plan of Hello. On another host than 0 no fds are attached, and only these two numbers
  // are allowed: the agent sends that output as Output with the task's number (see TaskPipes).
  std::vector<std::int32_t> fds = {};
  bool reads_stdin = false;  // false: its stdin is /dev/null
  bool silent = false;       // the agent discards its output
};

// Starts ranks of the receiver's host. The agent starts a few of them in each turn of its loop, so that PMI
// messages are served meanwhile. If the job ends first, it replies StartFailed (ECANCELED) for the others.
struct Start {
  std::uint32_t group = 0;
  std::vector<StartRank> ranks;
};

// The agent may forget the program: no other Start names it. Sent after the group's last Start.
struct ForgetProgram {
  std::uint32_t program = 0;
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

// These ranks will enter no barrier any more, as the launcher knows from their exits; or (`back`) they have
// connected again. For the host of the ranks, and for every host that has to know that a barrier cannot be
// completed.
struct Depart {
  std::uint32_t group = 0;
  std::vector<std::uint32_t> ranks;
  bool back = false;
};

// The answer to a query of this number; see SpawnQuery, NameQuery and BarrierQuery.
struct SpawnAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::int32_t rc = 0;
  std::string message = {};
  std::string kvsname = {};
  std::vector<std::int32_t> errcodes = {};
};

struct NameAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint8_t error = 0;  // engine::NameError
  std::string port = {};
};

struct BarrierAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  bool complete = true;
  std::uint32_t gone = 0;  // if it is not complete: a member that has left
};

// Asks for a StatusReply with the same number.
struct QueryStatus {
  std::uint32_t id = 0;
};

// Asks what the processes of these ranks do, which are on the receiver's host. The agent sends InspectReplies
// with the same number, one or more.
struct Inspect {
  std::uint32_t id = 0;
  std::uint32_t group = 0;
  std::vector<std::uint32_t> ranks;
  // Between two looks at the processor time. 0: one look, and the reply is sent at once, so before the
  // effects of a later message.
  std::uint32_t interval_ms = 0;
  // For so many of the ranks, the first ones, a debugger of the host shows the stack.
  std::uint32_t stacks = 0;
};

// All local ranks of the sender's part of the tree have entered the barrier of this number, and these keys
// were put since the one before. In parts; see wire/key_values.h.
struct Fence {
  std::uint32_t group = 0;
  std::uint64_t number = 0;
  std::string keys;
  bool last = true;
};

// The barrier is complete, with the keys of the other hosts. In parts.
struct Release {
  std::uint32_t group = 0;
  std::uint64_t number = 0;
  std::string keys;
  bool last = true;
};

// From host 0: bytes of the launcher's stdin for all readers of the receiver's host; no bytes: the end. Host
// 0 sends none before it has received InputReaders.
struct Input {
  std::string bytes;
};

// To host 0: all readers of stdin on the sender's host have started, or could not be started. `left`: whether
// one still reads. If none is left, now or later, host 0 no longer sends Input to this host.
struct InputReaders {
  bool left = true;
};

// For host 0: pipes for the output of tasks on another host, one attached fd for each task. Sent before the
// Start of these tasks. Host 0 closes the fd at the end of the output, or when the host is lost.
struct TaskPipes {
  std::uint32_t host = 0;
  std::uint32_t stream = 1;  // 1 or 2
  std::vector<std::uint32_t> tasks;
};

// For host 0: processes of process group 0 on another host, for MPIR_proctable. Sent when all ranks have
// started.
struct RankProcesses {
  std::string host;        // its name
  std::string executable;  // as the launcher was given it
  std::vector<std::uint32_t> ranks;
  std::vector<std::int32_t> pids;  // one for each of the ranks
};

// A line that earlier Output of the same stream has begun and not ended.
enum class OpenLine : std::uint8_t {
  continues,  // `bytes` continue it, or there is none
  cut,        // `bytes` begin a line of another rank. The rest follows later
  ended,      // it is complete without a newline
};

// To host 0: output of ranks. `stream` is 1 or 2. Whole lines, except the parts of a line that is too long or
// late.
//
// If `task` is set, the bytes are the unchanged output of this task, for its pipe. No bytes: the end.
struct Output {
  std::uint32_t stream = 1;
  std::int64_t task = -1;
  std::string bytes;  // may be empty if `open_line` is `ended`
  OpenLine open_line = OpenLine::continues;
  // The label of the line that `bytes` continue. Host 0 needs it if it has cut this line.
  std::string label = {};
};

// From host 0: it cannot write this output any more. The receiver closes the pipes of the ranks that write
// it, so that they receive SIGPIPE.
struct CloseOutput {
  std::uint32_t stream = 1;
  std::int64_t task = -1;
  std::int32_t error = 0;  // errno
};

// The receiver of Input or Output has written so many bytes (see cost()) of `stream` (0: Input) and `task`
// (as in Output). Without it, a sender sends at most kMaxUnacknowledged bytes of a stream, or
// kMaxTaskUnacknowledged of one task's output.
struct Credit {
  std::uint32_t stream = 0;
  std::int64_t task = -1;
  std::uint32_t bytes = 0;
};
inline constexpr std::uint32_t kMaxUnacknowledged = 256 << 10;
// As much as a pipe holds.
inline constexpr std::uint32_t kMaxTaskUnacknowledged = 64 << 10;

// What an Output counts for. It includes what the receiver needs to queue the message, so that small messages
// cannot take more memory than large ones.
inline std::size_t cost(const Output& output) {
  constexpr std::size_t kQueued = 96;
  return output.bytes.empty() ? 0 : output.bytes.size() + output.label.size() + kQueued;
}

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

// The process group's server is there, or its host has no ranks of it.
struct GroupReady {
  std::uint32_t group = 0;
};

struct GroupFailed {
  std::uint32_t group = 0;
  std::int32_t error = 0;  // errno
  // Empty: `subject` is the reason, for people. `error` is then EMFILE if the limit of open files is too low,
  // and 0 if an option is invalid.
  std::string syscall;
  std::string subject;
};

struct Started {
  std::uint32_t task = 0;
  std::int32_t pid = 0;
  std::vector<std::uint32_t> cpus = {};  // the CPUs to which it is bound; empty: it is not bound
  std::uint64_t time_ns = 0;
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
  // The processor time of the process and of its descendants that it has waited for, in microseconds.
  std::uint64_t user_us = 0;
  std::uint64_t system_us = 0;
  std::uint64_t time_ns = 0;
};

// engine::Peer.
struct Peer {
  std::uint8_t transport = 0;
  std::int64_t uid = -1;  // -1: not known
  std::int32_t pid = 0;   // 0: not known
  std::string address = {};
  std::string host = {};
  std::string unknown = {};
};

// One engine::Event. Its fields are those of engine/effects.h, and when it happened.
struct EventRecord {
  std::uint8_t type = 0;
  std::int32_t rank = -1;
  std::int32_t exit_code = 0;
  bool lost = false;
  bool again = false;
  bool in_barrier = false;
  std::uint64_t barrier = 0;
  std::uint32_t version = 0;
  std::uint32_t subversion = 0;
  std::string message = {};
  Peer peer = {};
  std::uint64_t time_ns = 0;
};

struct Events {
  std::uint32_t group = 0;
  std::vector<EventRecord> events;
};

// Events that peers can repeat without end, and that the agent has dropped because the launcher was slow.
struct EventsMissed {
  std::uint8_t type = 0;
  std::uint64_t count = 0;
};

// Lines of the recording that Hello::trace asks for.
struct TraceLines {
  std::string lines;
  std::uint64_t records = 0;  // in `lines`
  std::uint64_t dropped = 0;  // missing before or between them, because the launcher was slow
};

struct SpawnCommand {
  std::string program;
  std::vector<std::string> args;
  std::uint32_t ranks = 0;
  std::vector<std::pair<std::string, std::string>> info;
};

// A rank asks for a process group.
struct SpawnQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::vector<SpawnCommand> commands;
  std::vector<std::pair<std::string, std::string>> preput;
};

struct NameQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::uint8_t operation = 0;  // engine::NameOperation
  std::string service;
  std::string port;
};

// A rank has entered the barrier of a barrier group that has ranks on other hosts.
struct BarrierQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::string barrier_group;  // as in PMI-1.2's group=, see wire/barrier_group.h
};

struct BarrierGroupStatus {
  std::int32_t tag = 0;
  std::vector<std::uint32_t> inside;
  std::vector<std::uint32_t> missing;
};

// The state of the ranks of one host in one process group; see engine::ProcessGroupStatus.
struct GroupStatus {
  std::uint32_t group = 0;
  std::vector<std::uint8_t> ranks;  // engine::RankState of its ranks, in the order of ranks
  std::uint64_t barrier = 0;
  std::vector<std::uint32_t> inside;
  std::vector<BarrierGroupStatus> barrier_groups;
  std::uint64_t open_barrier_groups = 0;
  std::uint64_t kvs_entries = 0;
  std::uint64_t rejected = 0;
  std::uint64_t unidentified = 0;
};

// What the PMI servers of one host have counted, those of process groups that are over included; see
// engine::Counters.
struct HostCounters {
  std::vector<std::uint64_t> requests;
  std::vector<std::uint64_t> refused;
  std::uint64_t invalid = 0;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::vector<std::uint64_t> barriers;
  std::uint64_t barrier_time = 0;
  std::uint64_t kvs_bytes = 0;  // of all process groups that the host has
  std::uint64_t turns = 0;      // of the agent's event loop
};

struct StatusReply {
  std::uint32_t id = 0;
  std::vector<GroupStatus> groups;
  HostCounters counters = {};
};

// A rank whose process the agent has started, and which has not ended.
struct InspectedRank {
  std::uint32_t rank = 0;
  std::int32_t pid = 0;
  std::uint8_t pmi = 0;  // engine::RankState
  // The process that does the rank's work, and what it does; see os::ProcessFacts. 0: it cannot be seen.
  std::int32_t worker = 0;
  std::string name = {};
  std::uint8_t state = 0;
  std::string system_call = {};
  std::string file = {};
  std::string wait_channel = {};
  std::uint64_t processor_us = 0;
  // How much of that was in the interval between two looks; 0 of 0 after one look.
  std::uint64_t busy_us = 0;
  std::uint64_t interval_us = 0;
  bool has_stack = false;        // it was asked for
  std::string stack = {};        // the debugger's output, at most kMaxStack bytes
  std::string stack_fault = {};  // for people: why there may be none
};
inline constexpr std::size_t kMaxStack = 32 << 10;
// More than the longest of the other strings, which are a path and a line of text.
inline constexpr std::size_t kMaxInspectedText = 5 << 10;

// In parts. Ranks without such a process are left out.
struct InspectReply {
  std::uint32_t id = 0;
  std::vector<InspectedRank> ranks;
  bool last = true;
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
using Message =
    std::variant<Hello, PassFds, StartHost, DropHost, Group, ForgetGroup, AdoptRank, Program, ForgetProgram,
                 Start, Signal, End, Status, Depart, SpawnAnswer, NameAnswer, BarrierAnswer, QueryStatus,
                 Fence, Release, Input, InputReaders, TaskPipes, Output, CloseOutput, Credit, Ready, HostLost,
                 GroupReady, GroupFailed, Started, StartFailed, Exited, OutputLost, Printed, Events,
                 EventsMissed, TraceLines, SpawnQuery, NameQuery, BarrierQuery, StatusReply, Done,
                 RankProcesses, ClockQuery, ClockAnswer, Inspect, InspectReply, StartTogether, NotTogether,
                 ExpectHost, Expected>;

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
// The kind of the message type T.
template <typename T>
constexpr std::uint8_t kind_of() {
  return []<typename... All>(std::type_identity<std::variant<All...>>) {
    static_assert((std::is_same_v<T, All> || ...), "not a message");
    std::uint8_t kind = 0;
    (void)((std::is_same_v<T, All> || (++kind, false)) || ...);
    return kind;
  }(std::type_identity<Message>());
}

std::string encode(std::uint32_t host, const Message& message);
std::optional<Message> decode(std::string_view packet);

// Splits a program into parts of at most `limit` bytes each, ready for encode(). The result is empty if a
// single string is longer than the limit. (The kernel's own limit for a string, MAX_ARG_STRLEN, is 128 KiB.)
std::vector<Program> split(Program program, std::size_t limit);

}  // namespace wireup::wire::agent
