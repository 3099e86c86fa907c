// The stacks of processes, as a debugger of this host shows them: py-spy for Python programs, else eu-stack,
// else gdb. A debugger stops its process for the moment. Each has a time limit, its output is bounded, and
// only a few run at a time, because each keeps a processor busy.
//
// Debuggers are children of the agent, which are killed at the end of the job at the latest.
// Threads: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "os/reactor.h"
#include "os/unique_function.h"
#include "runtime/reaper.h"

namespace wireup::agent {

struct StackText {
  std::string text;   // what the debugger has printed, at most wire::agent::kMaxStack bytes
  std::string fault;  // for people: why it may be empty
};

class Stacks final {
 public:
  using OnStack = os::UniqueFunction<void(StackText)>;

  // `dev_null`: the stdin of debuggers.
  Stacks(os::Reactor& reactor, int dev_null);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // Calls `on_stack` once, in a later turn, unless stop() is called before. A process that has ended is no
  // error of the caller.
  void take(pid_t pid, OnStack on_stack);
  // Kills the debuggers. No other is started.
  void stop();

 private:
  struct Debugger;
  struct Wanted {
    pid_t pid;
    OnStack on_stack;
  };

  void start_some();
  void done(std::uint64_t number, StackText stack);

  os::Reactor& reactor_;
  int dev_null_;
  runtime::Reaper reaper_;
  std::deque<Wanted> waiting_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Debugger>> running_;
  std::uint64_t last_ = 0;
  os::Reactor::TimerId timer_ = 0;
  bool stopped_ = false;
};

}  // namespace wireup::agent
