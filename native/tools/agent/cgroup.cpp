#include "tools/agent/cgroup.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "os/file_place.h"
#include "os/random.h"
#include "os/text_file.h"

namespace wireup::agent {
namespace {

// Not "wireup-": older versions, which did not lock their cgroup, called it wireup-NUMBER.
constexpr const char* kPrefix = "wireup-job-";
// An attempt fails only if another job removes the new folder before it is locked.
constexpr int kAttempts = 3;

// The agent's cgroup, as a path below /sys; empty if it is unknown.
std::string own_cgroup() {
  const std::string groups = os::read_text("/proc/self/cgroup");
  // The line of the version 2 hierarchy is "0::PATH" (cgroups(7)).
  const std::string own(os::rest_of_line(groups, "0::").value_or(""));
  if (!own.starts_with('/')) return {};
  const std::string mounts = os::read_text("/proc/self/mountinfo");
  std::string_view rest = mounts;
  for (std::string_view line; os::next_line(rest, line);) {
    if (line.find(" - cgroup2 ") == std::string_view::npos) continue;
    // id parent device root mount-point (proc_pid_mountinfo(5)) ...
    const auto words = os::words_of(line);
    constexpr std::size_t kUsed = 5;
    if (words.size() < kUsed) continue;
    const std::string root(words[3]);
    const std::string point(words[4]);
    if (root == "/") return point + own;
    if (own == root || own.starts_with(root + "/")) return point + own.substr(root.size());
  }
  return {};
}

void write_one(const std::string& file) {
  const os::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return;
  // If this fails, the agent kills the processes one by one.
  [[maybe_unused]] const ssize_t written = ::write(fd.get(), "1", 1);
}

// Removes the cgroup and those below it, which a killed job inside this job has left. Returns false while one
// of them contains processes.
bool remove_tree(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno != EBUSY) return true;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(path, none)) {
    if (entry.is_directory(none)) remove_tree(entry.path());
  }
  return ::rmdir(path.c_str()) == 0;
}

void remove_abandoned(const std::string& parent) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(parent, none)) {
    const std::string path = entry.path();
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    const os::UniqueFd folder = os::open_folder(AT_FDCWD, path);
    struct stat status {};
    if (!folder || ::fstat(folder.get(), &status) != 0 || status.st_uid != ::geteuid()) continue;
    if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) continue;
    write_one(path + "/cgroup.kill");
    // If its processes have not ended yet, the next job removes it.
    remove_tree(path);
  }
}

}  // namespace

Cgroup::Cgroup() {
  std::string parent = own_cgroup();
  if (parent.empty()) return;
  if (!parent.ends_with('/')) parent += '/';
  remove_abandoned(parent);
  for (int i = 0; i < kAttempts; ++i) {
    // A process id alone is not unique, because several pid namespaces may share the cgroup tree.
    std::array<std::uint64_t, 1> salt;
    os::fill_random(std::as_writable_bytes(std::span(salt)));
    if (make(parent + kPrefix + std::to_string(salt[0]))) return;
  }
}

bool Cgroup::make(const std::string& path) {
  // An existing folder belongs to another job.
  if (::mkdir(path.c_str(), 0755) != 0) return false;
  lock_ = os::open_folder(AT_FDCWD, path);
  // Another job may have removed it as abandoned before it was locked.
  if (lock_ && ::flock(lock_.get(), LOCK_SH | LOCK_NB) == 0 && ::access(path.c_str(), F_OK) == 0) {
    path_ = path;
    return true;
  }
  lock_.reset();
  ::rmdir(path.c_str());
  return false;
}

void Cgroup::kill() const {
  if (!path_.empty()) write_one(path_ + "/cgroup.kill");
}

bool Cgroup::remove() const { return path_.empty() || remove_tree(path_); }

}  // namespace wireup::agent
