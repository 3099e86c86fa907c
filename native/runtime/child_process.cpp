#include "runtime/child_process.h"

#include <sys/epoll.h>
#include <sys/wait.h>

#include <csignal>
#include <utility>

namespace wireup::runtime {

ChildProcess::ChildProcess(os::Reactor& reactor, Reaper& reaper, const os::ProcessSpec& spec, OnExit on_exit)
    : reactor_(reactor), reaper_(reaper), on_exit_(std::move(on_exit)), child_(1) {
  child_.front().process = os::start_process(spec);
  watch();
}

ChildProcess::ChildProcess(os::Reactor& reactor, Reaper& reaper, Reaper::Children& child, OnExit on_exit)
    : reactor_(reactor), reaper_(reaper), on_exit_(std::move(on_exit)), child_(std::move(child)) {
  watch();
}

void ChildProcess::watch() {
  pid_ = child_.front().process.pid;
  try {
    reactor_.add(process().get(), EPOLLIN, *this);
  } catch (...) {
    reaper_.adopt(child_, {});
    throw;
  }
}

void ChildProcess::give_up(std::chrono::milliseconds grace) noexcept {
  if (child_.empty()) return;
  reactor_.remove(process().get(), *this);
  reaper_.adopt(child_, grace);
}

bool ChildProcess::stopped() const {
  siginfo_t info{};
  return !child_.empty() &&
         ::waitid(P_PIDFD, static_cast<id_t>(process().get()), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

void ChildProcess::on_ready(std::uint32_t) {
  os::ExitStatus status;
  if (!reap(process(), status)) return;
  reactor_.remove(process().get(), *this);
  child_.clear();
  const OnExit on_exit = std::move(on_exit_);
  on_exit(status);
}

}  // namespace wireup::runtime
