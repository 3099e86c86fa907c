// The process that stands between the program and its PMI server. main.cpp describes it.
#pragma once

#include <sys/types.h>

#include "os/fd.h"
#include "tools/tap/find_pmi.h"
#include "tools/tap/recorder.h"

namespace wireup::tap {

// Makes this process the proxy, and returns when both sides of the connection have ended. `program` is its
// end of the program's connection, `file` that of the recording, `program_pid` the process that becomes the
// program. If `found` is not connected yet, it connects when the program sends its first bytes, so that the
// server sees no connection of a program that does not use PMI. Throws os::OsError, std::system_error.
void run_proxy(PmiConnection found, os::UniqueFd program, os::UniqueFd file, const RecorderOptions& options,
               pid_t program_pid);

}  // namespace wireup::tap
