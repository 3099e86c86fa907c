// What a child inherits of a process beside its environment, and the process may have changed since it
// started another.
#pragma once

#include <sys/types.h>

namespace wireup::os {

struct InheritedContext {
  uid_t user = 0;  // effective
  gid_t group = 0;
  dev_t device = 0;  // of the working directory
  ino_t folder = 0;
  mode_t umask = 0;

  bool operator==(const InheritedContext&) const = default;
};

// Those of this process now. What cannot be told is 0.
InheritedContext inherited_context();

}  // namespace wireup::os
