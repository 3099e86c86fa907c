#include "tools/agent/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "os/random.h"

namespace wireup::agent {
namespace {

// The agent's own, as a path below /sys; empty where it cannot be told.
std::string own_cgroup() {
  std::string own;
  std::ifstream groups("/proc/self/cgroup");
  // "0::" stands before the path in the one hierarchy of version 2 (cgroups(7)).
  while (std::getline(groups, own) && !own.starts_with("0::")) {
  }
  if (!own.starts_with("0::/")) return {};
  own.erase(0, 3);
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    // id parent device root mount-point (proc_pid_mountinfo(5))
    std::istringstream words(line);
    std::string skipped;
    std::string root;
    std::string point;
    if (!(words >> skipped >> skipped >> skipped >> root >> point)) continue;
    if (root == "/") return point + own;
    if (own == root || own.starts_with(root + "/")) return point + own.substr(root.size());
  }
  return {};
}

void write_one(const std::string& file) {
  const os::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return;
  // What it does not end is looked for one by one.
  [[maybe_unused]] const ssize_t written = ::write(fd.get(), "1", 1);
}

// With those below it, which a job inside this one has left when it was killed. False while there is something in one.
bool remove_tree(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno != EBUSY) return true;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(path, none)) {
    if (entry.is_directory(none)) remove_tree(entry.path());
  }
  return ::rmdir(path.c_str()) == 0;
}

}  // namespace

Cgroup::Cgroup() {
  const std::string own = own_cgroup();
  if (own.empty()) return;
  // A process id alone is not unique: other pid namespaces may share the tree.
  std::array<std::uint64_t, 1> salt;
  os::fill_random(std::as_writable_bytes(std::span(salt)));
  const std::string path = own + (own.ends_with('/') ? "" : "/") + "wireup-" + std::to_string(salt[0]);
  // What stands there is somebody else's.
  if (::mkdir(path.c_str(), 0755) == 0) path_ = path;
}

int Cgroup::joining() {
  if (!path_.empty() && !procs_) procs_.reset(::open((path_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return procs_.get();
}

void Cgroup::kill() const {
  if (!path_.empty()) write_one(path_ + "/cgroup.kill");
}

bool Cgroup::remove() const { return path_.empty() || remove_tree(path_); }

}  // namespace wireup::agent
