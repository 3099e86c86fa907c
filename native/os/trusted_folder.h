// A folder is trusted if no other user can replace a file in it, or move the folder itself. On the way to it,
// through symbolic links too, each folder must belong to this user or to root. Other users must not be able
// to write in it, unless its sticky bit is set. This holds for root as well: root does not trust a folder of
// another user, because that user can change it. Threads: any.
#pragma once

#include <string>

#include "os/fd.h"

namespace wireup::os {

struct TrustedFolder {
  UniqueFd fd;        // O_PATH; empty if the folder is not trusted
  std::string fault;  // the reason, for people, with the folder's path
};

TrustedFolder open_trusted_folder(const std::string& path);

}  // namespace wireup::os
