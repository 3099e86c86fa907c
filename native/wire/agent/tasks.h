// The messages that start, signal and end tasks, and that report their ends. See wire/agent_messages.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::wire::agent {

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

// Every task has exited, all output is written, and no descendant is left.
struct Done {};

// For host 0: processes of process group 0 on another host, for MPIR_proctable. Sent when all ranks have
// started.
struct RankProcesses {
  std::string host;        // its name
  std::string executable;  // as the launcher was given it
  std::vector<std::uint32_t> ranks;
  std::vector<std::int32_t> pids;  // one for each of the ranks
};

}  // namespace wireup::wire::agent
