#include "tools/agent/children.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/proc_pids.h"

namespace wireup::agent {
namespace {

std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return pid;
}

// The fourth field of /proc/<pid>/stat. The second field is the program's name in parentheses. The name may
// contain any byte, also parentheses and blanks, so the fields are counted from the last ')'.
std::optional<pid_t> parent_of(int proc, const char* pid) {
  const os::UniqueFd file(::openat(proc, (std::string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  char buffer[512];
  const ssize_t size = ::read(file.get(), buffer, sizeof(buffer));
  if (size <= 0) return std::nullopt;
  std::string_view text(buffer, static_cast<std::size_t>(size));
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || text.size() < name_end + 5) return std::nullopt;
  text.remove_prefix(name_end + 4);  // ") S "
  return parse_pid(text.substr(0, text.find(' ')));
}

}  // namespace

std::vector<pid_t> children() {
  std::vector<pid_t> found;
  const std::vector<pid_t> self = os::proc_pids("self");
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc || self.empty()) return found;
  while (const dirent* entry = ::readdir(proc.get())) {
    const auto pid = parse_pid(entry->d_name);
    if (!pid || parent_of(::dirfd(proc.get()), entry->d_name) != self.front()) continue;
    if (self.size() == 1) {
      found.push_back(*pid);
    } else if (const std::vector<pid_t> pids = os::proc_pids(entry->d_name); pids.size() >= self.size()) {
      found.push_back(pids[self.size() - 1]);
    }
  }
  return found;
}

}  // namespace wireup::agent
