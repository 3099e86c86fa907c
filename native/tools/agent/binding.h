// The CPUs that each rank is bound to: one unit for each rank, among the CPUs that the agent may run on.
// After the last unit it starts again with the first.
#pragma once

#include <vector>

#include "os/topology.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Binding {
 public:
  // Throws OsError: EINVAL if a CPU does not exist or the agent may not use it.
  void plan(const wire::agent::Binding& binding);
  // The CPUs of the next rank; empty: not bound.
  const os::CpuSet& next();

 private:
  std::vector<os::CpuSet> sets_;
  std::size_t given_ = 0;
};

}  // namespace wireup::agent
