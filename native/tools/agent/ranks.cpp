#include "tools/agent/ranks.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace wireup::agent {

struct Ranks::Task final : os::Handler {
  Task(Ranks& owner, std::uint32_t own_number, os::StartedProcess started)
      : ranks(owner), number(own_number), child(std::move(started)) {
    try {
      ranks.reactor_.add(child.pidfd.get(), EPOLLIN, *this);
    } catch (const os::OsError&) {
      // The reactor could never report its end.
      signal(SIGKILL);
      throw;
    }
  }
  ~Task() override { ranks.reactor_.remove(child.pidfd.get(), *this); }
  void on_ready(std::uint32_t) override { ranks.reap(*this); }

  void signal(int signal) const {
    ::kill(-child.pid, signal);
    // Only KILL has the same effect if it is sent twice.
    if (signal == SIGKILL) ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), signal, nullptr, 0);
  }

  Ranks& ranks;
  std::uint32_t number;
  os::StartedProcess child;
  bool ended = false;
};

Ranks::Ranks(os::Reactor& reactor, RanksObserver& observer) : reactor_(reactor), observer_(observer) {}
Ranks::~Ranks() = default;

std::vector<Ranks::Outcome> Ranks::start(std::span<const std::uint32_t> numbers,
                                         std::span<const os::ProcessSpec> specs) {
  std::vector<Outcome> outcomes;
  for (os::StartResult& result : os::start_processes(specs)) {
    auto* const process = std::get_if<os::StartedProcess>(&result);
    if (process == nullptr) {
      outcomes.emplace_back(std::get<os::OsError>(std::move(result)));
      continue;
    }
    try {
      outcomes.emplace_back(watch(numbers[outcomes.size()], std::move(*process)));
    } catch (const os::OsError& error) {
      outcomes.emplace_back(error);
    }
  }
  return outcomes;
}

pid_t Ranks::watch(std::uint32_t number, os::StartedProcess process) {
  auto task = std::make_unique<Task>(*this, number, std::move(process));
  const pid_t pid = task->child.pid;
  by_pid_.emplace(pid, task.get());
  by_task_.emplace(number, std::move(task));
  return pid;
}

void Ranks::reap(Task& task) {
  os::ExitStatus status;
  if (!os::try_wait(task.child.pidfd.get(), status)) return;
  const std::uint32_t number = task.number;
  const bool ended = task.ended;
  by_pid_.erase(task.child.pid);
  by_task_.erase(number);
  observer_.on_rank_exit(number, status, ended);
}

pid_t Ranks::pid(std::uint32_t number) const {
  const auto found = by_task_.find(number);
  return found == by_task_.end() ? 0 : found->second->child.pid;
}

void Ranks::signal(std::uint32_t number, int signal_number) const {
  const auto found = by_task_.find(number);
  if (found != by_task_.end()) found->second->signal(signal_number == SIGTSTP ? SIGSTOP : signal_number);
}

void Ranks::signal_all(int signal_number) const {
  for (const auto& [number, task] : by_task_) signal(number, signal_number);
}

void Ranks::end_all() {
  std::vector<Task*> running;
  for (const auto& [number, task] : by_task_) running.push_back(task.get());
  for (Task* task : running) reap(*task);
  for (const auto& [number, task] : by_task_) task->ended = true;
  signal_all(SIGTERM);
  // A stopped process receives TERM only after it continues.
  signal_all(SIGCONT);
}

}  // namespace wireup::agent
