#include "os/whole_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <optional>

#include "os/error.h"
#include "os/fd.h"
#include "os/file_place.h"

namespace wireup::os {
namespace {

constexpr mode_t kNewMode = 0666;  // without the bits of the umask
constexpr mode_t kModeBits = 07777;

struct Target {
  std::string path;                        // after all links
  std::optional<struct stat> status = {};  // empty: the file does not exist
  bool stream = false;                     // written directly
};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Links in /proc that look like files are the open files of a process.
bool is_in_proc(const std::string& path) {
  struct statfs system {};
  return ::statfs(folder_of(path).c_str(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

Target find_target(std::string path) {
  if (path.empty()) throw OsError(ENOENT, "open");
  for (int links = 0; links < kMaxLinks; ++links) {
    std::array<char, PATH_MAX> text{};
    const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
    if (size < 0) {
      if (errno != EINVAL && errno != ENOENT) throw OsError::last("open", path);
      Target target{std::move(path)};
      struct stat status {};
      if (::stat(target.path.c_str(), &status) == 0) {
        target.status = status;
        target.stream = !S_ISREG(status.st_mode);
      }
      return target;
    }
    if (is_in_proc(path)) return {.path = std::move(path), .stream = true};
    const std::string link(text.data(), static_cast<std::size_t>(size));
    path = link.starts_with('/') ? link : folder_of(path).append("/").append(link);
  }
  throw OsError(ELOOP, "open", path);
}

void write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written >= 0) {
      content.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      throw OsError::last("write", path);
    }
  }
}

void write_stream(const std::string& path, std::string_view content) {
  // O_APPEND: after the bytes of other writers. O_NONBLOCK: it does not wait for a reader of a FIFO, perhaps
  // for ever (ENXIO).
  const UniqueFd stream(::open(path.c_str(), O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!stream) throw OsError::last("open", path);
  set_nonblocking(stream.get(), false);
  write_all(stream.get(), content, path);
}

// A file name. The destructor removes the file while `ours` is true.
struct Name {
  explicit Name(std::string name) : path(std::move(name)) {}
  Name(const Name&) = delete;
  Name& operator=(const Name&) = delete;
  ~Name() {
    if (ours) ::unlink(path.c_str());
  }
  std::string path;
  bool ours = false;
};

UniqueFd open_unnamed(const std::string& folder) {
  UniqueFd file(::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kNewMode));
  // linkat(2) will name the file through /proc.
  if (file && ::access("/proc/self/fd", X_OK) != 0) file.reset();
  return file;
}

}  // namespace

void check_whole(const std::string& path) {
  const Target target = find_target(path);
  if (target.status && S_ISDIR(target.status->st_mode)) throw OsError(EISDIR, "open", target.path);
  if ((target.status || target.stream) && ::access(target.path.c_str(), W_OK) != 0)
    throw OsError::last("open", target.path);
  if (!target.stream && ::access(folder_of(target.path).c_str(), W_OK | X_OK) != 0) {
    throw OsError::last("open", folder_of(target.path));
  }
}

void write_whole(const std::string& path, std::string_view content) {
  const Target target = find_target(path);
  if (target.stream) return write_stream(target.path, content);
  Name named(target.path + "." + std::to_string(::getpid()));
  UniqueFd file = open_unnamed(folder_of(target.path));
  if (!file) {
    file.reset(::open(named.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kNewMode));
    if (!file) throw OsError::last("open", named.path);
    named.ours = true;
  }
  if (target.status) {
    // fchown(2) comes first because it clears the set-uid bits. If it fails, the file belongs to this user,
    // and must not run as this user.
    const bool same_owner = ::fchown(file.get(), target.status->st_uid, target.status->st_gid) == 0;
    const mode_t kept = same_owner ? kModeBits : kModeBits & ~mode_t{S_ISUID | S_ISGID};
    if (::fchmod(file.get(), target.status->st_mode & kept) != 0) throw OsError::last("fchmod", target.path);
  }
  write_all(file.get(), content, target.path);
  if (::fsync(file.get()) != 0) throw OsError::last("fsync", target.path);
  if (!named.ours) {
    const std::string unnamed = "/proc/self/fd/" + std::to_string(file.get());
    const auto link = [&](const std::string& name) {
      return ::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    if (link(target.path)) return;
    // linkat(2) does not replace an existing name.
    if (errno != EEXIST || !link(named.path)) throw OsError::last("linkat", named.path);
    named.ours = true;
  }
  if (::rename(named.path.c_str(), target.path.c_str()) != 0) throw OsError::last("rename", target.path);
  named.ours = false;
}

}  // namespace wireup::os
