// To which CPUs each rank is bound: unit after unit of those that the agent itself may run on, from the first
// again when the ranks are more than the units.
#pragma once

#include <vector>

#include "os/topology.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Binding {
 public:
  // Throws OsError: no such CPU, or none that we may use (EINVAL).
  void plan(const wire::agent::Binding& binding);
  // For the next rank; empty: it is not bound.
  const os::CpuSet& next();

 private:
  std::vector<os::CpuSet> sets_;
  std::size_t given_ = 0;
};

}  // namespace wireup::agent
