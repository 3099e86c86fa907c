// The conductor: runs one launcher with its ranks once, and says as JSON on stdout how long what is timed
// took.
//
//   {"wallNs": of the command, "firstNs": [...], "lastNs": [...], "threads": [{process, thread, name,
//   cpuNs}],
//    "memory": [before, after]}
//
// firstNs and lastNs: for each point in time, the first and the last rank there, since the first of all.
// threads and memory: of the launcher, at the two gates. With Mode::launch there is wallNs only.
#pragma once

#include <sys/types.h>

#include "tools/bench/script.h"

namespace wireup::bench {

// `server`: whose tree is looked at; 0: the command's. Returns the exit code.
int conduct(const Script& script, pid_t server, char** command);

}  // namespace wireup::bench
