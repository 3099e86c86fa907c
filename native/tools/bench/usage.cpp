#include "tools/bench/usage.h"

#include <filesystem>
#include <fstream>

namespace wireup::bench {
namespace {

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// RssAnon in /proc/<pid>/status is in kB (proc(5)).
std::uint64_t anonymous_bytes(const std::filesystem::path& process) {
  std::ifstream in(process / "status");
  std::string word;
  while (in >> word) {
    std::uint64_t kilobytes = 0;
    if (word == "RssAnon:" && in >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

void add_process(pid_t pid, pid_t parent, const std::set<pid_t>& ranks, Usage& usage) {
  const std::filesystem::path process = "/proc/" + std::to_string(pid);
  std::error_code gone;
  usage.memory += anonymous_bytes(process);
  for (const auto& task : std::filesystem::directory_iterator(process / "task", gone)) {
    // The first number is the time on a processor, in nanoseconds (proc(5)).
    std::uint64_t cpu_ns = 0;
    std::ifstream(task.path() / "schedstat") >> cpu_ns;
    usage.threads.push_back({pid, parent, static_cast<pid_t>(std::stoi(task.path().filename())),
                             first_line(task.path() / "comm"), cpu_ns});
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;) {
      if (!ranks.contains(child)) add_process(child, pid, ranks, usage);
    }
  }
}

}  // namespace

Usage usage_of(pid_t root, const std::set<pid_t>& ranks) {
  Usage usage;
  add_process(root, 0, ranks, usage);
  return usage;
}

}  // namespace wireup::bench
