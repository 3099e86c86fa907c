// What a process does at one moment, as /proc shows it. Needs no privilege for the caller's own processes;
// Yama (kernel.yama.ptrace_scope) shows the system call only to an ancestor of the process.
//
// Threads: any. Reads a few small files of /proc for each call, and waits for nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace wireup::os {

struct ProcessFacts {
  std::string name;  // of the program, at most 15 bytes (/proc/PID/comm)
  char state = '?';  // the letter of proc_pid_stat(5)
  // The system call that the main thread is in: a name, "system call 999", or empty if it is in none or the
  // kernel does not permit to know it.
  std::string system_call;
  // What the system call reads or writes: a path, "pipe:[5]", "socket:[7]"; empty: nothing, or not known.
  std::string file;
  std::string wait_channel;  // /proc/PID/wchan; empty: it does not wait, or the kernel does not report it
  std::uint64_t processor_us = 0;  // processor time since its start, in microseconds
};

// None if there is no such process, or /proc cannot be read.
std::optional<ProcessFacts> process_facts(pid_t pid);

// The processor time of the process since its start, in microseconds; 0 if there is no such process.
std::uint64_t processor_time(pid_t pid);

// The process that does the work: a process that waits for its only child, as a shell does that runs one
// program, is replaced by that child.
pid_t working_process(pid_t pid);

// The file that the process executes (/proc/PID/exe); empty if it is not known.
std::string executable_of(pid_t pid);

}  // namespace wireup::os
