#include "tools/agent/ranks.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <utility>
#include <vector>

#include "os/error.h"

namespace wireup::agent {

struct Ranks::Process final : os::Handler {
  Process(Ranks& owner, std::uint32_t own_number, os::SpawnedProcess started)
      : ranks(owner), number(own_number), child(std::move(started)) {
    try {
      ranks.reactor_.add(child.pidfd.get(), EPOLLIN, *this);
    } catch (const os::OsError&) {
      // Its end could never be reported.
      signal(SIGKILL);
      throw;
    }
  }
  ~Process() override { ranks.reactor_.remove(child.pidfd.get(), *this); }
  void on_ready(std::uint32_t) override { ranks.reap(*this); }

  void signal(int signal) const {
    ::kill(-child.pid, signal);
    // Only KILL can be sent twice without a difference to the rank.
    if (signal == SIGKILL) ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), signal, nullptr, 0);
  }

  Ranks& ranks;
  std::uint32_t number;
  os::SpawnedProcess child;
  bool ended = false;
};

Ranks::Ranks(os::Reactor& reactor, RanksObserver& observer) : reactor_(reactor), observer_(observer) {}
Ranks::~Ranks() = default;

pid_t Ranks::start(std::uint32_t number, const os::SpawnSpec& spec) {
  auto process = std::make_unique<Process>(*this, number, os::spawn(spec));
  const pid_t pid = process->child.pid;
  by_pid_.emplace(pid, process.get());
  by_number_.emplace(number, std::move(process));
  return pid;
}

void Ranks::reap(Process& process) {
  os::ExitStatus status;
  if (!os::try_wait(process.child.pidfd.get(), status)) return;
  const std::uint32_t number = process.number;
  const bool ended = process.ended;
  by_pid_.erase(process.child.pid);
  by_number_.erase(number);
  observer_.on_rank_exit(number, status, ended);
}

void Ranks::signal(std::uint32_t process, int number) const {
  const auto found = by_number_.find(process);
  if (found != by_number_.end()) found->second->signal(number == SIGTSTP ? SIGSTOP : number);
}

void Ranks::signal_all(int number) const {
  for (const auto& [process, running] : by_number_) signal(process, number);
}

void Ranks::end_all() {
  std::vector<Process*> running;
  for (const auto& [number, process] : by_number_) running.push_back(process.get());
  for (Process* process : running) reap(*process);
  for (const auto& [number, process] : by_number_) process->ended = true;
  signal_all(SIGTERM);
  // A stopped process takes TERM only when it goes on.
  signal_all(SIGCONT);
}

}  // namespace wireup::agent
