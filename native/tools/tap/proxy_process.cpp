#include "tools/tap/proxy_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "os/error.h"
#include "tools/tap/proxy.h"

namespace wireup::tap {
namespace {

// Takes the descriptor out of the range of stdin, stdout and stderr.
void move_up(os::UniqueFd& fd) {
  const int moved = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (moved < 0) throw os::OsError::last("fcntl", "F_DUPFD_CLOEXEC");
  fd.reset(moved);
}

// Closes all descriptors but these.
void close_others(std::vector<int> kept) {
  std::ranges::sort(kept);
  unsigned int first = 0;
  for (const int fd : kept) {
    const auto number = static_cast<unsigned int>(fd);
    if (number > first) ::syscall(SYS_close_range, first, number - 1, 0);
    first = number + 1;
  }
  ::syscall(SYS_close_range, first, UINT_MAX, 0);
}

// Waits until the program has sent something. Returns false if its connection ends without a byte.
bool wait_for_bytes(int program) {
  char byte = 0;
  for (;;) {
    // poll(2), because the socket may be non-blocking.
    pollfd entry{program, POLLIN, 0};
    if (::poll(&entry, 1, -1) < 0 && errno != EINTR) throw os::OsError::last("poll");
    const ssize_t size = ::recv(program, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (size >= 0) return size > 0;
    if (errno != EAGAIN && errno != EINTR) return false;
  }
}

// Ends the program's connection. A close before its bytes are read would be a reset for it.
void hang_up(int program, Recorder& recorder) {
  ::shutdown(program, SHUT_RDWR);
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = ::recv(program, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size <= 0) return;
    recorder.received(wire::Side::client, {buffer.data(), static_cast<std::size_t>(size)});
  }
}

}  // namespace

void run_proxy(PmiConnection found, os::UniqueFd program, os::UniqueFd file, const RecorderOptions& options,
               pid_t program_pid) {
  ::setsid();
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  move_up(program);
  move_up(file);
  std::vector<int> kept{program.get(), file.get()};
  if (found.server) {
    move_up(found.server);
    kept.push_back(found.server.get());
  }
  close_others(std::move(kept));
  // A file that is opened later must not become stderr. The folder of the program must not stay in use.
  if (::open("/dev/null", O_RDWR) == 0 && ::dup(0) >= 0) static_cast<void>(::dup(0));
  static_cast<void>(::chdir("/"));

  Recorder recorder(std::move(file), options);
  std::string failure;
  if (!found.server) {
    if (!wait_for_bytes(program.get())) return;
    try {
      connect(found);
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
  if (failure.empty()) recorder.connected(found.transport, program_pid, ::getuid());
  for (const auto& [side, bytes] : found.handshake) recorder.handshake(side, bytes);
  if (!failure.empty()) {
    recorder.refused(found.transport, failure);
    return hang_up(program.get(), recorder);
  }
  Proxy(std::move(program), std::move(found.server), recorder).run();
  recorder.closed();
}

}  // namespace wireup::tap
