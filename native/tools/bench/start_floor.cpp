#include "tools/bench/start_floor.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

// A flag in an event's data, beside the fd.
constexpr std::uint64_t kIsPidfd = std::uint64_t{1} << 32;

void watch(int epoll, int fd, std::uint64_t kind) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kind | static_cast<std::uint32_t>(fd);
  check(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void start(int epoll, int null, char** command) {
  int out[2];
  int err[2];
  check(::pipe2(out, O_CLOEXEC), "pipe2");
  check(::pipe2(err, O_CLOEXEC), "pipe2");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, null, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t pid;
  errno = ::posix_spawnp(&pid, command[0], &actions, nullptr, command, environ);
  if (errno != 0) check(-1, command[0]);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  ::close(err[1]);
  watch(epoll, out[0], 0);
  watch(epoll, err[0], 0);
  watch(epoll, check(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open"), kIsPidfd);
}

}  // namespace

int start_floor(std::uint32_t count, char** command) {
  raise_fd_limit();
  const int epoll = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  const int null = check(::open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
  for (std::uint32_t i = 0; i < count; ++i) start(epoll, null, command);
  constexpr int kEvents = 256;
  epoll_event events[kEvents];
  bool failed = false;
  // Two pipes and a pidfd for each child.
  for (std::uint32_t open = 3 * count; open > 0;) {
    const int ready = ::epoll_wait(epoll, events, kEvents, -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = static_cast<int>(events[i].data.u64 & ~kIsPidfd);
      char buffer[4096];
      if ((events[i].data.u64 & kIsPidfd) == 0) {
        if (::read(fd, buffer, sizeof buffer) > 0) continue;
      } else {
        siginfo_t info{};
        ::waitid(P_PIDFD, static_cast<id_t>(fd), &info, WEXITED);
        failed |= info.si_code != CLD_EXITED || info.si_status != 0;
      }
      // close(2) alone is not enough: a child before its execve(2) still has a copy, so events would
      // continue.
      ::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
      ::close(fd);
      --open;
    }
  }
  return failed ? 1 : 0;
}

}  // namespace wireup::bench
