// What a process inherits beside its environment, arguments and working directory, and what Node changes at
// its start: Node resets every signal to its default, unblocks all signals, raises the soft limit of open
// files to the hard limit, and marks inherited fds close-on-exec.
//
// Threads: any. The results hold for the whole process, except for the calling thread's signal mask.
#pragma once

#include <cstdint>
#include <vector>

namespace wireup::os {

struct Caller {
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;  // soft limit of open files, less than 2^31; 0: unknown, keep the current one
  std::vector<std::int32_t> fds = {};  // all above 2, in ascending order
};

// For a process that has changed nothing yet. Throws OsError if /proc cannot be read.
Caller note_caller();

// For a Node process: recovers what it can. Signals: none. Limit: that of the parent process, if Node has
// raised this process's limit. Fds: all open ones that cannot be Node's own; a pipe with both ends open here
// may be Node's, so it is left out. Returns an empty result if /proc cannot be read.
Caller recover_caller();

// Opens each of the fds 0, 1 and 2 that is closed, so that no other file gets its number. Reading 0 and
// writing 1 and 2 then fails with EBADF, as it does on a closed fd. Throws OsError.
void fill_standard_fds();

}  // namespace wireup::os
