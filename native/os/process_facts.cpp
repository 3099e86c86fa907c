#include "os/process_facts.h"

#include <dirent.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>
#include <vector>

#include "os/text_file.h"

namespace wireup::os {
namespace {

// Programs that only start another one, one inside the other.
constexpr int kMaxDepth = 8;

std::string path_of(pid_t pid, const std::string& file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

std::string read_link(const std::string& path) {
  std::array<char, PATH_MAX> bytes;
  const ssize_t size = ::readlink(path.c_str(), bytes.data(), bytes.size());
  return size <= 0 ? std::string() : std::string(bytes.data(), static_cast<std::size_t>(size));
}

template <typename Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Stat {
  std::string name;
  char state;
  std::uint64_t processor_us;
};

// The name in parentheses may contain any byte, also parentheses and blanks, so the fields are counted from
// the last ')'.
std::optional<Stat> read_stat(pid_t pid) {
  const std::string text = read_text(path_of(pid, "stat"));
  const std::size_t begin = text.find('(');
  const std::size_t end = text.rfind(')');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return std::nullopt;
  const auto words = words_of(std::string_view(text).substr(end + 1));
  // The state is field 3 of the file, utime field 14, stime field 15.
  constexpr std::size_t kUserTime = 11;
  if (words.size() <= kUserTime + 1) return std::nullopt;
  const std::uint64_t ticks = number<std::uint64_t>(words[kUserTime]).value_or(0) +
                              number<std::uint64_t>(words[kUserTime + 1]).value_or(0);
  static const auto per_second = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
  return Stat{text.substr(begin + 1, end - begin - 1), words[0].front(), ticks * 1'000'000 / per_second};
}

struct NamedCall {
  long number;
  std::string_view name;
  bool has_fd;  // its first argument is a file descriptor whose file is of interest
};

// Those in which a process may be for long. arm64 does not have all of them.
constexpr NamedCall kCalls[] = {
#ifdef SYS_poll
    {SYS_poll, "poll", false},
    {SYS_select, "select", false},
    {SYS_pause, "pause", false},
    {SYS_epoll_wait, "epoll_wait", false},
#endif
    {SYS_read, "read", true},
    {SYS_write, "write", true},
    {SYS_readv, "readv", true},
    {SYS_writev, "writev", true},
    {SYS_pread64, "pread64", true},
    {SYS_pwrite64, "pwrite64", true},
    {SYS_ioctl, "ioctl", true},
    {SYS_fcntl, "fcntl", true},
    {SYS_flock, "flock", true},
    {SYS_fsync, "fsync", true},
    {SYS_splice, "splice", true},
    {SYS_connect, "connect", true},
    {SYS_accept, "accept", true},
    {SYS_accept4, "accept4", true},
    {SYS_sendto, "sendto", true},
    {SYS_recvfrom, "recvfrom", true},
    {SYS_sendmsg, "sendmsg", true},
    {SYS_recvmsg, "recvmsg", true},
    {SYS_sched_yield, "sched_yield", false},
    {SYS_nanosleep, "nanosleep", false},
    {SYS_clock_nanosleep, "clock_nanosleep", false},
    {SYS_wait4, "wait4", false},
    {SYS_waitid, "waitid", false},
    {SYS_semop, "semop", false},
    {SYS_semtimedop, "semtimedop", false},
    {SYS_msgrcv, "msgrcv", false},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait", false},
    {SYS_rt_sigsuspend, "rt_sigsuspend", false},
    {SYS_futex, "futex", false},
    {SYS_openat, "openat", false},
    {SYS_pselect6, "pselect6", false},
    {SYS_ppoll, "ppoll", false},
    {SYS_epoll_pwait, "epoll_pwait", false},
    {SYS_io_uring_enter, "io_uring_enter", false},
};

struct Call {
  std::string name;
  std::string file;
};

// /proc/PID/syscall: "0 0x3 0x7ffd ...", or "running".
Call call_of(pid_t pid) {
  const std::string text = read_text(path_of(pid, "syscall"));
  const auto words = words_of(text);
  const auto which = words.empty() ? std::nullopt : number<long>(words[0]);
  // -1: it is blocked, but not in a system call.
  if (!which || *which < 0) return {};
  const auto* const known = std::ranges::find(kCalls, *which, &NamedCall::number);
  if (known == std::end(kCalls)) return {"system call " + std::to_string(*which), {}};
  Call call{std::string(known->name), {}};
  constexpr std::string_view kHex = "0x";
  if (known->has_fd && words.size() > 1 && words[1].starts_with(kHex)) {
    const auto fd = number<std::uint32_t>(words[1].substr(kHex.size()), 16);
    if (fd) call.file = read_link(path_of(pid, "fd/" + std::to_string(*fd)));
  }
  return call;
}

std::string wait_channel_of(pid_t pid) {
  std::string text = read_text(path_of(pid, "wchan"));
  return text == "0" ? std::string() : text;
}

// The children of all threads; empty if the kernel does not list them.
std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const std::string threads = path_of(pid, "task");
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(threads.c_str()), ::closedir);
  if (!folder) return children;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    const std::string text = read_text(threads + "/" + entry->d_name + "/children");
    for (const std::string_view word : words_of(text)) {
      if (const auto child = number<pid_t>(word)) children.push_back(*child);
    }
  }
  return children;
}

bool waits_for_child(pid_t pid) {
  return call_of(pid).name.starts_with("wait") || wait_channel_of(pid) == "do_wait";
}

}  // namespace

std::optional<ProcessFacts> process_facts(pid_t pid) {
  auto stat = read_stat(pid);
  if (!stat) return std::nullopt;
  ProcessFacts facts;
  facts.name = std::move(stat->name);
  facts.state = stat->state;
  facts.processor_us = stat->processor_us;
  // Asleep, or asleep so that no signal wakes it.
  if (facts.state != 'S' && facts.state != 'D') return facts;
  facts.wait_channel = wait_channel_of(pid);
  Call call = call_of(pid);
  facts.system_call = std::move(call.name);
  facts.file = std::move(call.file);
  return facts;
}

std::uint64_t processor_time(pid_t pid) {
  const auto stat = read_stat(pid);
  return stat ? stat->processor_us : 0;
}

pid_t working_process(pid_t pid) {
  for (int depth = 0; depth < kMaxDepth && waits_for_child(pid); ++depth) {
    const auto children = children_of(pid);
    if (children.size() != 1) break;
    pid = children.front();
  }
  return pid;
}

std::string executable_of(pid_t pid) { return read_link(path_of(pid, "exe")); }

}  // namespace wireup::os
