// The notes by which the starter (tools/start) hands what Node would destroy to the tool: bytes in a pipe,
// which Node inherits.
#pragma once

#include <string>
#include <vector>

#include "os/caller.h"

namespace wireup::runtime {

struct CallerNotes {
  os::Caller caller;
  // "NAME=value", what was taken out of Node's environment.
  std::vector<std::string> hidden = {};
};

// An fd that survives the next exec. Throws os::OsError.
int leave_notes(const CallerNotes& notes);

// Closes `fd`. Throws os::OsError for an fd without notes: then it stays as it is.
CallerNotes take_notes(int fd);

}  // namespace wireup::runtime
