// A folder of our own for one socket: mode 0700 under a fresh name, removed with its owner. What a killed
// owner has left is removed by the next that is made in the same place, if nobody does so before.
#pragma once

#include <string>

namespace wireup::os {

class PrivateDirectory {
 public:
  // Makes `parent`/wireup-XXXXXX, to hold the socket socket(). `passable`: others may reach what is in it,
  // and the socket's own mode and server decide. Throws OsError.
  explicit PrivateDirectory(const std::string& parent, bool passable = false);
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string socket() const;

 private:
  std::string path_;
};

// Removes one that a killed owner has left, with its dead socket; nothing else.
void remove_dead_directory(const std::string& path);

}  // namespace wireup::os
