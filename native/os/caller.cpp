#include "os/caller.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "os/error.h"
#include "os/limits.h"
#include "os/start_process.h"
#include "os/text_file.h"

namespace wireup::os {
namespace {

constexpr const char* kFds = "/proc/self/fd";

std::vector<std::int32_t> numbers(const sigset_t& set) {
  std::vector<std::int32_t> result;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (::sigismember(&set, signal) == 1) result.push_back(signal);
  }
  return result;
}

// All above 2, in ascending order.
std::vector<std::int32_t> open_fds_above_stdio() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(kFds), ::closedir);
  if (folder == nullptr) throw OsError::last("opendir", kFds);
  std::vector<std::int32_t> result;
  while (const dirent* entry = ::readdir(folder.get())) {
    const int fd = std::atoi(entry->d_name);
    if (fd > STDERR_FILENO && fd != ::dirfd(folder.get())) result.push_back(fd);
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::string target_of(std::int32_t fd) {
  std::array<char, 64> text{};  // long enough for the kind of file
  const std::string path = std::string(kFds) + '/' + std::to_string(fd);
  const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
  return size < 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(size));
}

// The soft and the hard limit, from "Max open files            1024                 1048576 files".
std::pair<std::uint64_t, std::uint64_t> file_limit_of(pid_t process) {
  const std::string limits = read_text("/proc/" + std::to_string(process) + "/limits");
  const auto rest = rest_of_line(limits, "Max open files");
  if (!rest) return {};
  // It ends in `limits`, whose text has an end.
  char* end = nullptr;
  const std::uint64_t soft = std::strtoull(rest->data(), &end, 10);
  return {soft, std::strtoull(end, nullptr, 10)};
}

// The inode of an anonymous pipe; 0 for other files.
ino_t pipe_of(std::int32_t fd) {
  struct stat status {};
  const bool is_pipe =
      ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && target_of(fd).starts_with("pipe:");
  return is_pipe ? status.st_ino : 0;
}

std::vector<std::int32_t> recover_fds() {
  std::vector<std::int32_t> fds = open_fds_above_stdio();
  // The channel to a parent process that is Node too (child_process.fork()).
  const char* channel = std::getenv("NODE_CHANNEL_FD");
  std::erase_if(fds, [channel](std::int32_t fd) {
    // Node's own: epoll, eventfd, io_uring.
    return target_of(fd).starts_with("anon_inode:") || (channel != nullptr && std::to_string(fd) == channel);
  });
  std::map<ino_t, int> ends;
  for (const std::int32_t fd : fds) ++ends[pipe_of(fd)];
  std::erase_if(fds, [&](std::int32_t fd) {
    const ino_t pipe = pipe_of(fd);
    return pipe != 0 && ends[pipe] > 1;
  });
  return fds;
}

}  // namespace

Caller note_caller() {
  Caller caller;
  caller.ignored_signals = numbers(ignored_signals());
  sigset_t blocked;
  ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
  caller.blocked_signals = numbers(blocked);
  caller.soft_files = static_cast<std::uint32_t>(fd_limit().soft);
  caller.fds = open_fds_above_stdio();
  return caller;
}

Caller recover_caller() {
  Caller caller;
  const FdLimit own = fd_limit();
  const auto [soft, hard] = file_limit_of(::getppid());
  if (own.soft == own.hard && hard == own.hard && soft < own.soft)
    caller.soft_files = static_cast<std::uint32_t>(soft);
  try {
    caller.fds = recover_fds();
  } catch (const OsError&) {
    // Without /proc no fds are known.
  }
  return caller;
}

void fill_standard_fds() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      throw OsError::last("open", "/dev/null");
  }
}

}  // namespace wireup::os
