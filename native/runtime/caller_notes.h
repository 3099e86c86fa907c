// Notes from the starter (tools/start) to the `wireup` command about what Node changes when it starts. They
// are bytes in a pipe that Node inherits.
#pragma once

#include <string>
#include <vector>

#include "os/caller.h"

namespace wireup::runtime {

struct CallerNotes {
  os::Caller caller;
  // The variables ("NAME=value") that the starter has removed from Node's environment.
  std::vector<std::string> hidden = {};
};

// Writes the notes. Returns an fd that stays open across the next exec. Throws os::OsError.
int leave_notes(const CallerNotes& notes);

// Reads the notes and closes `fd`. Throws os::OsError for an fd without notes, and leaves that one open.
CallerNotes take_notes(int fd);

}  // namespace wireup::runtime
