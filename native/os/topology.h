// The CPUs that this process may run on, and their cores and sockets, from /sys/devices/system/cpu
// (Documentation/ABI/stable/sysfs-devices-system-cpu). Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::os {

using CpuSet = std::vector<std::uint32_t>;  // in ascending order

enum class CpuUnit : std::uint8_t { hwthread, core, socket };

// The CPUs that the calling thread may run on. Throws OsError.
CpuSet allowed_cpus();

// Groups the CPUs of `allowed` by unit. The groups are ordered by socket, then by core. A CPU that `folder`
// does not describe is a core of its own in socket 0.
std::vector<CpuSet> cpu_units(CpuUnit unit, const CpuSet& allowed,
                              const std::string& folder = "/sys/devices/system/cpu");

}  // namespace wireup::os
