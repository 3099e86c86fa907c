#include "os/topology.h"

#include <sched.h>

#include <cerrno>
#include <charconv>
#include <map>
#include <memory>
#include <tuple>

#include "os/error.h"
#include "os/text_file.h"

namespace wireup::os {
namespace {

// More CPUs than a kernel supports (NR_CPUS is at most 8,192).
constexpr int kMostCpus = 1 << 16;

std::int64_t number_in(const std::string& file, std::int64_t otherwise) {
  const std::string text = read_text(file);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? value : otherwise;
}

}  // namespace

CpuSet allowed_cpus() {
  // The kernel refuses a mask that is smaller than its own mask.
  for (int count = 1024; count <= kMostCpus; count *= 2) {
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(count));
    const auto release = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(release)> mask(CPU_ALLOC(static_cast<std::size_t>(count)),
                                                             release);
    if (!mask) throw OsError(ENOMEM, "sched_getaffinity");
    if (::sched_getaffinity(0, bytes, mask.get()) == 0) {
      CpuSet cpus;
      for (int cpu = 0; cpu < count; ++cpu) {
        if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, mask.get()))
          cpus.push_back(static_cast<std::uint32_t>(cpu));
      }
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  throw OsError::last("sched_getaffinity");
}

std::vector<CpuSet> cpu_units(CpuUnit unit, const CpuSet& allowed, const std::string& folder) {
  // Core numbers are unique only within a socket. Without core_id each CPU is a core.
  using Place = std::tuple<std::int64_t, std::int64_t, std::uint32_t>;
  std::map<Place, CpuSet> units;
  for (const std::uint32_t cpu : allowed) {
    const std::string topology = folder + "/cpu" + std::to_string(cpu) + "/topology/";
    const std::int64_t socket = number_in(topology + "physical_package_id", 0);
    const std::int64_t core = number_in(topology + "core_id", cpu);
    Place place{socket, core, cpu};
    if (unit != CpuUnit::hwthread) std::get<2>(place) = 0;
    if (unit == CpuUnit::socket) std::get<1>(place) = 0;
    units[place].push_back(cpu);
  }
  std::vector<CpuSet> result;
  result.reserve(units.size());
  for (auto& [place, cpus] : units) result.push_back(std::move(cpus));
  return result;
}

}  // namespace wireup::os
