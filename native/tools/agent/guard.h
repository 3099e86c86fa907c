// The agent's parent process. It only waits, and cleans up if the agent is killed.
//
// When the agent dies, the kernel kills the ranks, but not the processes that the ranks have started. Those
// become children of the guard, which is the next subreaper. The guard kills them and ends in the same way as
// the agent. It also kills an agent that a signal has stopped, because a stopped agent blocks every rank. If
// the guard is killed, the kernel continues a stopped agent, and the agent ends the job (GuardWatch).
//
// An agent of a tree of hosts is lost if its loop hangs, since it sends no heartbeats then. The guard kills
// it, because it cannot end its ranks itself (LoopBeats). Without a tree, an agent may take as long as it
// likes for one turn of its loop.
//
// Then it removes the agent's private folder. If the launcher was killed, it removes the folder of the job's
// socket too.
//
// Limits: if agent and guard are killed at the same time, only the ranks die. Processes that run as another
// user cannot be killed.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/cgroup.h"
#include "tools/agent/shared_memory.h"

namespace wireup::agent {

// The path of the agent's private folder, in memory that agent and guard share.
class FolderNote {
 public:
  // Once. A path of a private folder is short enough for the memory (os/private_directory.h).
  void set(const std::string& path);
  // Empty before set().
  std::string path() const;

 private:
  struct Memory {
    std::atomic<std::size_t> size;  // set after the text; 0: no path
    std::array<char, 256> text;     // the path of a unix socket is shorter (sockaddr_un)
  };
  SharedMemory<Memory> memory_;
};

// When the agent's loop has run last, in memory that agent and guard share.
class LoopNote {
 public:
  using Clock = os::Reactor::Clock;
  void set(Clock::time_point time) { memory_->store(time.time_since_epoch().count()); }
  // Nullopt before set(): the guard does not watch the loop.
  std::optional<Clock::time_point> last() const;

 private:
  SharedMemory<std::atomic<Clock::rep>> memory_;
};

// What the agent leaves for its guard.
struct GuardNotes {
  FolderNote folder;
  LoopNote loop;
};

// Forks. Returns in the child, which is the agent, with the guard's process id. The parent is the guard: it
// never returns, removes the job's cgroup and the agent's private folder, and exits. Call it before other
// threads or files exist. Throws OsError.
pid_t start_guard(const Cgroup& cgroup, const GuardNotes& notes);

// Reports to the guard that the agent's loop runs, from start() on. Threads: the reactor's.
class LoopBeats {
 public:
  LoopBeats(os::Reactor& reactor, pid_t guard, LoopNote& note)
      : reactor_(reactor), guard_(guard), note_(note) {}
  ~LoopBeats() { reactor_.cancel(timer_); }
  LoopBeats(const LoopBeats&) = delete;
  LoopBeats& operator=(const LoopBeats&) = delete;

  // Does nothing the second time.
  void start();

 private:
  void beat();

  os::Reactor& reactor_;
  pid_t guard_;
  LoopNote& note_;
  os::Reactor::TimerId timer_ = 0;
};

// Calls `gone` in the agent when the guard has ended. The constructor throws OsError, also if the guard has
// ended already. Threads: the reactor's.
class GuardWatch final : os::Handler {
 public:
  GuardWatch(os::Reactor& reactor, pid_t guard, std::function<void()> gone);
  ~GuardWatch() override;
  GuardWatch(const GuardWatch&) = delete;
  GuardWatch& operator=(const GuardWatch&) = delete;

 private:
  void on_ready(std::uint32_t events) override;

  os::Reactor& reactor_;
  std::function<void()> gone_;
  os::UniqueFd pidfd_;
};

}  // namespace wireup::agent
