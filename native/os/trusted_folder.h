// A folder in which no other user can put one thing in the place of another, nor move the folder itself: on
// the way to it, links followed, each folder belongs to us or to root, and others may write in none, but
// where the sticky bit keeps what is ours. Root's own user is held to it too: a folder that a user owns is
// that user's to change.
#pragma once

#include <string>

#include "os/fd.h"

namespace wireup::os {

struct TrustedFolder {
  UniqueFd fd;        // O_PATH; empty when it is not to be trusted
  std::string fault;  // then: why, for people, with the folder that it is about
};

TrustedFolder open_trusted_folder(const std::string& path);

}  // namespace wireup::os
