// The other side of singleton init: a program that was started without a launcher, and needs one after all,
// listens on a port of 127.0.0.1, runs `mpiexec -pmi_args PORT INTERFACE KEY PID`, and becomes rank 0 of 1 of
// whoever connects there. MPICH's (src/pmi, from 1.1 on), whose words are
//
//   mpiexec: cmd=singinit authtype=none
//   program: cmd=singinit pmi_version=1 pmi_subversion=1 stdio=yes authtype=none
//   mpiexec: cmd=singinit_info rc=0 versionok=yes stdio=no kvsname=...
//
// and from then on what any rank says, beginning with init. stdio=yes asks us to take its standard streams
// over; it keeps them, which are ours too.
#pragma once

#include <cstdint>
#include <string>

#include "os/fd.h"

namespace wireup::runtime {

// The connection, on which the program is the rank of the job `kvsname`. Waits; 10 seconds at most. Throws
// os::OsError: also EPERM when another user listens there, and EPROTO for other words than these.
os::UniqueFd join_singleton(std::uint16_t port, const std::string& kvsname);

}  // namespace wireup::runtime
