// wireup-agent: a launcher starts it with its own stdin, stdout and stderr, and with a seqpacket socket to
// itself as fd 3. wire/agent_messages.h describes the messages and the exit codes.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include "os/caller.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "os/start_process.h"
#include "tools/agent/agent.h"
#include "tools/agent/guard.h"
#include "tools/agent/stdio.h"

namespace {

constexpr int kLauncherFd = 3;

bool is_seqpacket(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

// The agent is in the launcher's POSIX process group, so it receives the terminal's signals. It ignores them,
// because the launcher decides which signals the ranks receive. It ends when its socket closes. Keeps
// `not_default` up to date, the set of signals whose action is not the default.
void ignore_signals(sigset_t& not_default) {
  for (const int number : {SIGINT, SIGQUIT, SIGTSTP, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTTIN,
                           SIGTTOU, SIGPIPE, SIGWINCH}) {
    std::signal(number, SIG_IGN);
    sigaddset(&not_default, number);
  }
  // If it were ignored, the kernel would reap children itself, and their statuses would be lost.
  std::signal(SIGCHLD, SIG_DFL);
  sigdelset(&not_default, SIGCHLD);
}

}  // namespace

int main() {
  sigset_t not_default = wireup::os::ignored_signals();
  const sigset_t ignored = not_default;
  sigset_t blocked;
  sigemptyset(&blocked);
  if (!is_seqpacket(kLauncherFd)) {
    std::fputs(
        "wireup-agent: started by wireup launchers to look after a job's ranks; not to be run by hand\n",
        stderr);
    return wireup::wire::agent::kExitNoLauncher;
  }
  try {
    wireup::os::UniqueFd launcher(kLauncherFd);
    ::fcntl(kLauncherFd, F_SETFD, FD_CLOEXEC);
    wireup::os::fill_standard_fds();
    ignore_signals(not_default);
    wireup::agent::Cgroup cgroup;
    const pid_t guard = wireup::agent::start_guard(cgroup);
    wireup::os::Reactor reactor;
    wireup::agent::Agent agent(reactor, guard, std::move(launcher), {ignored, blocked, not_default}, cgroup);
    return agent.run();
  } catch (const std::exception& error) {
    wireup::agent::complain("%s", error.what());
    return 1;
  }
}
