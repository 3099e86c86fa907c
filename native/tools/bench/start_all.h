// Stands in for srun in `wireup bench fence`: starts the agents of many pretended hosts on this machine.
#pragma once

namespace wireup::bench {

// `words` are those of an srun: `-w LIST` names the hosts, other options are ignored, and the command
// follows. Runs the command once for each host, with the host's name in SLURMD_NODENAME. Each gets all of
// stdin. Ends when all have ended. Returns the exit code.
int start_all(char** words);

}  // namespace wireup::bench
