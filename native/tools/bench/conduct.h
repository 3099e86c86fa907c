// The conductor runs one launcher with its ranks once, and prints the measured times on stdout, as JSON:
//
//   {"wallNs": N, "firstNs": [...], "lastNs": [...],
//    "threads": [{process, parent, thread, name, cpuNs}], "memory": [before, after]}
//
// wallNs: the whole command. firstNs and lastNs: for each mark, the time of the first and of the last rank,
// since the first time of all. threads and memory: of the launcher, between the two gates. Mode::launch has
// only wallNs.
#pragma once

#include <sys/types.h>

#include "tools/bench/script.h"

namespace wireup::bench {

// `server`: the process whose tree is measured; 0: the command. Returns the exit code.
int conduct(const Script& script, pid_t server, char** command);

}  // namespace wireup::bench
