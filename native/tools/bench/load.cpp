#include "tools/bench/load.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

[[noreturn]] void be_busy(pid_t parent, int started) {
  check(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
  if (::getppid() != parent) ::_exit(1);
  check(::setsid(), "setsid");
  ::close(started);
  ::close(STDIN_FILENO);
  ::close(STDOUT_FILENO);
  for (;;) asm volatile("");
}

}  // namespace

int load(std::uint32_t processes) {
  const pid_t self = ::getpid();
  int started[2];
  check(::pipe(started), "pipe");
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < processes; ++i) {
    const pid_t child = check(::fork(), "fork");
    if (child == 0) be_busy(self, started[1]);
    children.push_back(child);
  }
  ::close(started[1]);
  // The pipe ends when every process has closed it.
  char none;
  check(static_cast<int>(::read(started[0], &none, 1)), "read");
  std::puts("busy");
  std::fflush(stdout);
  char buffer[256];
  while (::read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
  }
  for (const pid_t child : children) ::kill(child, SIGKILL);
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  return 0;
}

}  // namespace wireup::bench
