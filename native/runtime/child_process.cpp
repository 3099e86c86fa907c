#include "runtime/child_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "os/error.h"

namespace wireup::runtime {

ChildProcess::ChildProcess(os::Reactor& reactor, const os::ProcessSpec& spec, OnExit on_exit)
    : reactor_(reactor), process_(os::start_process(spec)), on_exit_(std::move(on_exit)) {
  try {
    reactor_.add(process_.pidfd.get(), EPOLLIN, *this);
  } catch (...) {
    kill_and_reap();
    throw;
  }
}

ChildProcess::~ChildProcess() {
  if (reaped_) return;
  reactor_.remove(process_.pidfd.get(), *this);
  kill_and_reap();
}

void ChildProcess::kill_and_reap() const {
  kill();
  siginfo_t info{};
  while (waitid(P_PIDFD, static_cast<id_t>(process_.pidfd.get()), &info, WEXITED) == -1 && errno == EINTR) {
  }
}

bool ChildProcess::stopped() const {
  siginfo_t info{};
  return waitid(P_PIDFD, static_cast<id_t>(process_.pidfd.get()), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

void ChildProcess::kill() const { ::kill(process_.pid, SIGKILL); }

void ChildProcess::go_on() const { ::kill(process_.pid, SIGCONT); }

void ChildProcess::wait(std::chrono::milliseconds limit) const {
  pollfd entry{process_.pidfd.get(), POLLIN, 0};
  ::poll(&entry, 1, static_cast<int>(limit.count()));
}

void ChildProcess::on_ready(std::uint32_t) {
  os::ExitStatus status;
  try {
    if (!os::try_wait(process_.pidfd.get(), status)) return;
  } catch (const os::OsError&) {
    // ECHILD: an owner that waits for any child, or ignores SIGCHLD, was first. How it ended nobody will
    // tell.
  }
  reaped_ = true;
  reactor_.remove(process_.pidfd.get(), *this);
  const OnExit on_exit = std::move(on_exit_);
  on_exit(status);
}

}  // namespace wireup::runtime
