// wireup-agent: a launcher starts it with its own stdin, stdout and stderr, and with a seqpacket socket to
// itself as fd 3. On another host it is started as `wireup-agent link`: its stdin and stdout are the link to
// its parent; another word, `same-host`, follows if that parent is on this host. If one command starts the
// agents of many hosts, it is `wireup-agent join`: its stdin brings the boot record (tools/agent/join.h).
// wire/agent_messages.h describes the messages and the exit codes.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

#include "os/caller.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "os/start_process.h"
#include "tools/agent/agent.h"
#include "tools/agent/guard.h"
#include "tools/agent/join.h"
#include "tools/agent/stdio.h"
#include "tools/agent/together.h"

namespace {

constexpr int kLauncherFd = 3;

bool is_seqpacket(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

// Whether the fd can be a direction of a link. Most terminals change what passes. srun --unbuffered gives one
// for stdout that does not. A command that has not passed its own stdin or stdout on often gives a file or
// /dev/null.
bool passes_bytes(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))) return true;
  termios terminal{};
  return fd == STDOUT_FILENO && ::tcgetattr(fd, &terminal) == 0 && (terminal.c_oflag & OPOST) == 0;
}

void replace_by_null(std::initializer_list<int> fds) {
  const wireup::os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : fds) {
    if (!null || ::dup2(null.get(), fd) < 0) throw wireup::os::OsError::last("open", "/dev/null");
  }
}

// Takes stdin and stdout for the link, and puts /dev/null in their place. Closes all other fds but stderr: a
// staged agent is still open as one of them.
wireup::agent::ParentEnd take_stdio(bool same_host) {
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
  wireup::os::fill_standard_fds();
  for (const auto& [fd, name] : {std::pair{STDIN_FILENO, "stdin"}, std::pair{STDOUT_FILENO, "stdout"}}) {
    // lib/host-advice.ts knows this line.
    if (!passes_bytes(fd)) throw std::runtime_error(std::string(name) + " is neither a pipe nor a socket");
  }
  wireup::agent::ParentEnd link{wireup::os::duplicate(STDIN_FILENO), wireup::os::duplicate(STDOUT_FILENO),
                                same_host};
  replace_by_null({STDIN_FILENO, STDOUT_FILENO});
  // A staged agent is executed by its fd, whose number would be its name.
  ::prctl(PR_SET_NAME, "wireup-agent");
  return link;
}

// Returns whether this host has joined.
bool join(wireup::os::Reactor& reactor, wireup::agent::ParentEnd& parent) {
  try {
    parent.tree = wireup::agent::join_tree(reactor);
  } catch (const std::exception& error) {
    // The agent of host 0 reads this line (tools/agent/together.h).
    wireup::agent::complain("%s%s%s", wireup::agent::own_name().c_str(), wireup::agent::kCouldNotJoin.data(),
                            error.what());
    return false;
  }
  parent.in = wireup::os::duplicate(STDIN_FILENO);
  replace_by_null({STDIN_FILENO});
  return true;
}

wireup::agent::ParentEnd take_socket() {
  wireup::os::UniqueFd launcher(kLauncherFd);
  ::fcntl(kLauncherFd, F_SETFD, FD_CLOEXEC);
  wireup::os::fill_standard_fds();
  return {std::move(launcher)};
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

int main(int argc, char** argv) {
  const bool joins = argc == 2 && std::strcmp(argv[1], "join") == 0 && ::isatty(STDIN_FILENO) == 0;
  const bool linked = argc >= 2 && std::strcmp(argv[1], "link") == 0;
  const bool same_host = argc == 3 && std::strcmp(argv[2], "same-host") == 0;
  sigset_t not_default = wireup::os::ignored_signals();
  const sigset_t ignored = not_default;
  sigset_t blocked;
  sigemptyset(&blocked);
  if (!linked && !joins && !is_seqpacket(kLauncherFd)) {
    std::fputs(
        "wireup-agent: started by wireup launchers to look after a job's ranks; not to be run by hand\n",
        stderr);
    return wireup::wire::agent::kExitNoLauncher;
  }
  try {
    wireup::agent::ParentEnd parent;
    if (joins) {
      ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
      wireup::os::fill_standard_fds();
      replace_by_null({STDOUT_FILENO});
    } else {
      parent = linked ? take_stdio(same_host) : take_socket();
    }
    ignore_signals(not_default);
    wireup::agent::Cgroup cgroup;
    wireup::agent::GuardNotes notes;
    const pid_t guard = wireup::agent::start_guard(cgroup, notes);
    wireup::os::Reactor reactor;
    // After the fork of the guard, because libzmq has threads.
    if (joins && !join(reactor, parent)) return 1;
    wireup::agent::Agent agent(reactor, guard, std::move(parent), {ignored, blocked, not_default}, cgroup,
                               notes);
    return agent.run();
  } catch (const std::exception& error) {
    wireup::agent::complain("%s", error.what());
    return 1;
  }
}
