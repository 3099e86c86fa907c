// The attributes that a child inherits from its parent process, beside the environment. Comparing two of them
// shows whether the process has changed them since.
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

// The attributes of this process now. One that cannot be read is 0.
InheritedContext inherited_context();

}  // namespace wireup::os
