#include "tools/bench/count_link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools/bench/util.h"
#include "wire/agent_messages.h"
#include "wire/link_framer.h"

namespace wireup::bench {
namespace {

constexpr std::size_t kMaxNoise = 64 << 10;

// One direction of the link.
struct Direction {
  int from;
  int to;
  wire::LinkFramer framer{kMaxNoise, wire::agent::kMaxPacket};
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;

  void count(std::string_view bytes_read) {
    std::string_view packet;
    for (;;) {
      switch (framer.next(bytes_read, packet)) {
        case wire::LinkFramer::Result::packet:
          count_packet(packet);
          break;
        case wire::LinkFramer::Result::greeting:
          break;
        default:
          return;
      }
    }
  }

  void count_packet(std::string_view packet) {
    using namespace wire::agent;
    const auto header = read_header(packet);
    if (!header || (header->kind != kind_of<Fence>() && header->kind != kind_of<Release>())) return;
    const auto message = decode(packet);
    if (!message) return;
    ++messages;
    const auto* fence = std::get_if<Fence>(&*message);
    bytes += fence != nullptr ? fence->keys.size() : std::get<Release>(*message).keys.size();
  }

  // Returns false at the end.
  bool pass() {
    std::array<char, 64 << 10> buffer;
    const ssize_t size = ::read(from, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) return true;
    if (size <= 0) return false;
    count({buffer.data(), static_cast<std::size_t>(size)});
    for (ssize_t sent = 0; sent < size;) {
      const ssize_t written = ::write(to, buffer.data() + sent, static_cast<std::size_t>(size - sent));
      if (written < 0 && errno != EINTR) return false;
      if (written > 0) sent += written;
    }
    return true;
  }
};

}  // namespace

int count_link(const char* file, char** command) {
  std::signal(SIGPIPE, SIG_IGN);
  int down[2];
  int up[2];
  check(::pipe2(down, O_CLOEXEC), "pipe");
  check(::pipe2(up, O_CLOEXEC), "pipe");
  const pid_t self = ::getpid();
  const pid_t child = check(::fork(), "fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) std::_Exit(1);
    check(::dup2(down[0], STDIN_FILENO), "dup2");
    check(::dup2(up[1], STDOUT_FILENO), "dup2");
    std::signal(SIGPIPE, SIG_DFL);
    ::execvp(command[0], command);
    check(-1, command[0]);
  }
  ::close(down[0]);
  ::close(up[1]);
  Direction to_command{STDIN_FILENO, down[1]};
  Direction from_command{up[0], STDOUT_FILENO};
  // The parent of the link closes its end last, or both when the agent is lost.
  for (bool open = true; open;) {
    std::array<pollfd, 2> fds{{{to_command.from, POLLIN, 0}, {from_command.from, POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[0].revents != 0 && to_command.from >= 0 && !to_command.pass()) {
      ::close(to_command.to);
      to_command.from = -1;  // poll() ignores it
    }
    if (fds[1].revents != 0) open = from_command.pass();
  }
  std::FILE* out = std::fopen(file, "we");
  if (out == nullptr) check(-1, file);
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::fprintf(out,
               "{\"up\":{\"messages\":%llu,\"bytes\":%llu},\"down\":{\"messages\":%llu,\"bytes\":%llu}}\n",
               number(from_command.messages), number(from_command.bytes), number(to_command.messages),
               number(to_command.bytes));
  std::fclose(out);
  // The job may be over for its launcher when the link has ended.
  ::close(STDOUT_FILENO);
  int status = 0;
  check(::waitpid(child, &status, 0), "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace wireup::bench
