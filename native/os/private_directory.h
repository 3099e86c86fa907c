// A private folder for sockets. It has mode 0700 and a random name, and lies in a trusted folder
// (trusted_folder.h). The object works on it through its fd and holds a flock(2) on it. The destructor
// removes the folder, if no socket is left in it. If its process is killed at any moment, the next make() in
// the same parent folder removes what is left.
//
// The names of sockets in it begin with kSocketName and have at most kMaxSocketName bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "os/fd.h"

namespace wireup::os {

inline constexpr std::string_view kSocketName = "pmi";
// "pmi-" and a 32-bit number.
inline constexpr std::size_t kMaxSocketName = 14;

class PrivateDirectory {
 public:
  // Makes `parent`/wireup-XXXXXX. With `passable`, other users may reach the sockets in it, and each socket's
  // mode and server decide which of them may connect. If the folder cannot be made, or `parent` cannot be
  // trusted, returns null and sets `fault` to the reason, for people.
  static std::unique_ptr<PrivateDirectory> make(const std::string& parent, bool passable, std::string& fault);
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Like `passable` of make(), from now on.
  void make_passable();
  // A socket's path for clients, and a path through the folder's fd, for this process.
  std::string socket(std::string_view name = kSocketName) const;
  std::string socket_by_fd(std::string_view name = kSocketName) const;

 private:
  PrivateDirectory() = default;

  UniqueFd parent_;
  UniqueFd folder_;  // with a flock
  std::string name_;
  std::string path_;
};

// Removes a folder that a killed process has left, with its dead sockets. Does nothing to any other folder.
void remove_dead_directory(const std::string& path);
// All such folders of this user in `parent`. Does nothing if the parent cannot be trusted.
void remove_dead_directories(const std::string& parent);

}  // namespace wireup::os
