// A folder of our own for one socket: mode 0700 under a fresh name, in a folder that no other user can change
// under us (trusted_folder.h), and worked on by its fd. It is removed with its owner, who holds a flock on
// it. What a killed owner has left, at any moment of its making, is removed by the next that is made in the
// same place, if not before.
#pragma once

#include <memory>
#include <string>

#include "os/fd.h"

namespace wireup::os {

class PrivateDirectory {
 public:
  // Makes `parent`/wireup-XXXXXX, to hold one socket. `passable`: others may reach what is in it, and the
  // socket's own mode and server decide. Null where that cannot be or should not, and why in `fault`, for
  // people.
  static std::unique_ptr<PrivateDirectory> make(const std::string& parent, bool passable, std::string& fault);
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }
  // The socket's path, for those who connect, and another one that is of our own process: through the
  // folder's fd.
  std::string socket() const;
  std::string socket_by_fd() const;

 private:
  PrivateDirectory() = default;

  UniqueFd parent_;
  UniqueFd folder_;  // locked
  std::string name_;
  std::string path_;
};

// Removes one that a killed owner has left, with its dead socket; nothing else.
void remove_dead_directory(const std::string& path);

}  // namespace wireup::os
