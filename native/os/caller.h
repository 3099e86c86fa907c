// What a process was handed by the process that started it, beside environment, arguments and working
// directory, and what Node destroys at its own start: Node makes every signal default, unblocks all, raises
// the soft limit of open files to the hard one, and marks inherited fds close-on-exec.
//
// Threads: any; but what is found out is of the whole process, and of the calling thread's signal mask.
#pragma once

#include <cstdint>
#include <vector>

namespace wireup::os {

struct Caller {
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;  // the soft limit of open files (the kernel allows none of 2^31); 0: as it is
  std::vector<std::int32_t> fds = {};  // those above 2, in order
};

// In a process that has changed nothing yet. Throws OsError where /proc cannot be read.
Caller note_caller();

// In a Node process, as far as it can be found out. Signals: none. Limit: the parent process's, where Node
// has raised our own. Fds: what is open and cannot be Node's own; pipes of which both ends are open here may
// be Node's and are left out. Where /proc cannot be read: nothing.
Caller recover_caller();

// Opens 0, 1 and 2 where they are closed, so that nothing else gets these numbers: reading 0, and writing 1
// and 2, fails with EBADF as before. Throws OsError.
void fill_standard_fds();

}  // namespace wireup::os
