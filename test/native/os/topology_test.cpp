#include "os/topology.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace {

using namespace wireup::os;

// The part of /sys that describes a machine's CPUs.
class Machine {
 public:
  Machine() { REQUIRE(::mkdtemp(folder_.data()) != nullptr); }
  ~Machine() { std::filesystem::remove_all(folder_); }

  void add(std::uint32_t cpu, int socket, int core) const {
    const std::string topology = folder_ + "/cpu" + std::to_string(cpu) + "/topology";
    std::filesystem::create_directories(topology);
    std::ofstream(topology + "/physical_package_id") << socket << "\n";
    std::ofstream(topology + "/core_id") << core << "\n";
  }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_ = "/tmp/topology-XXXXXX";
};

TEST_CASE("topology: two sockets with two cores with two threads each") {
  const Machine machine;
  // Numbered as by Linux: first one thread of each core, then the others.
  for (std::uint32_t cpu = 0; cpu < 8; ++cpu)
    machine.add(cpu, static_cast<int>(cpu % 4 / 2), static_cast<int>(cpu % 2));
  const CpuSet all{0, 1, 2, 3, 4, 5, 6, 7};
  CHECK(cpu_units(CpuUnit::socket, all, machine.folder()) == std::vector<CpuSet>{{0, 1, 4, 5}, {2, 3, 6, 7}});
  CHECK(cpu_units(CpuUnit::core, all, machine.folder()) ==
        std::vector<CpuSet>{{0, 4}, {1, 5}, {2, 6}, {3, 7}});
  CHECK(cpu_units(CpuUnit::hwthread, all, machine.folder()) ==
        std::vector<CpuSet>{{0}, {4}, {1}, {5}, {2}, {6}, {3}, {7}});
  CHECK(cpu_units(CpuUnit::core, {1, 2, 5}, machine.folder()) == std::vector<CpuSet>{{1, 5}, {2}});
}

TEST_CASE("topology: CPUs without a description are cores of one socket") {
  CHECK(cpu_units(CpuUnit::core, {0, 3}, "/no/such/folder") == std::vector<CpuSet>{{0}, {3}});
  CHECK(cpu_units(CpuUnit::socket, {0, 3}, "/no/such/folder") == std::vector<CpuSet>{{0, 3}});
}

TEST_CASE("topology: this process may run on a CPU") { CHECK_FALSE(allowed_cpus().empty()); }

}  // namespace
