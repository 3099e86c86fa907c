#include "os/trusted_folder.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "os/file_place.h"

namespace wireup::os {

namespace {

std::string failed_at(const std::string& where) { return where + ": " + std::strerror(errno); }

std::string fault_of(int fd, const std::string& where, bool& is_link) {
  struct stat status;
  if (::fstat(fd, &status) < 0) return failed_at(where);
  is_link = S_ISLNK(status.st_mode);
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return where + " belongs to uid " + std::to_string(status.st_uid);
  }
  if (is_link) return {};
  if (!S_ISDIR(status.st_mode)) return where + " is no folder";
  const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (others_write && (status.st_mode & S_ISVTX) == 0) return where + " can be written by other users";
  return {};
}

// Removes the next name from `path` and returns it; empty at the end.
std::string next_name(std::string& path) {
  const std::size_t begin = path.find_first_not_of('/');
  if (begin == std::string::npos) return {};
  const std::size_t end = std::min(path.find('/', begin), path.size());
  std::string name = path.substr(begin, end - begin);
  path.erase(0, end);
  return name;
}

class Walk {
 public:
  explicit Walk(std::string path) : rest_(std::move(path)) {}

  TrustedFolder go() {
    if (!rest_.starts_with('/')) return {{}, "it is not an absolute path"};
    std::string fault = from_root();
    while (fault.empty()) {
      const std::string name = next_name(rest_);
      if (name.empty()) return {std::move(at_), {}};
      fault = enter(name);
    }
    return {{}, std::move(fault)};
  }

 private:
  std::string from_root() {
    where_.clear();
    at_.reset(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    bool is_link = false;
    return at_ ? fault_of(at_.get(), "/", is_link) : failed_at("/");
  }

  std::string enter(const std::string& name) {
    if (name == ".") return {};
    const std::string where = name == ".." ? where_.substr(0, where_.rfind('/')) : where_ + "/" + name;
    UniqueFd next(::openat(at_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return failed_at(where);
    bool is_link = false;
    std::string fault = fault_of(next.get(), where, is_link);
    if (!fault.empty()) return fault;
    if (is_link) return follow(next.get(), where);
    at_ = std::move(next);
    where_ = where;
    return {};
  }

  std::string follow(int link, const std::string& where) {
    if (++links_ > kMaxLinks) return where + ": " + std::strerror(ELOOP);
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(link, "", target.data(), target.size());
    if (size < 0) return failed_at(where);
    const std::string_view text(target.data(), static_cast<std::size_t>(size));
    rest_ = std::string(text) + "/" + rest_;
    return text.starts_with('/') ? from_root() : std::string();
  }

  std::string rest_;   // the part of the path that is left
  std::string where_;  // the path so far, for people; empty: the root
  UniqueFd at_;
  int links_ = 0;
};

}  // namespace

TrustedFolder open_trusted_folder(const std::string& path) { return Walk(path).go(); }

}  // namespace wireup::os
