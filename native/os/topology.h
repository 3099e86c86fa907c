// The CPUs of this machine that we may run on, and which of them are one core or sit in one socket, as
// /sys/devices/system/cpu tells (Documentation/ABI/stable/sysfs-devices-system-cpu).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::os {

using CpuSet = std::vector<std::uint32_t>;  // in ascending order

enum class CpuUnit : std::uint8_t { hwthread, core, socket };

// The CPUs that this thread may run on. Throws OsError.
CpuSet allowed_cpus();

// The CPUs of `allowed`, by unit: socket after socket, in each core after core. Where `folder` (that of
// sysfs) says nothing of a CPU, it is a core of its own in socket 0.
std::vector<CpuSet> cpu_units(CpuUnit unit, const CpuSet& allowed,
                              const std::string& folder = "/sys/devices/system/cpu");

}  // namespace wireup::os
