#include "tools/agent/binding.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "os/error.h"

namespace wireup::agent {

using wire::agent::BindingUnit;

void Binding::plan(const wire::agent::Binding& binding) {
  if (binding.unit == BindingUnit::none) return;
  const os::CpuSet allowed = os::allowed_cpus();
  std::vector<os::CpuSet> sets;
  switch (binding.unit) {
    case BindingUnit::none:
      break;
    case BindingUnit::hwthread:
      sets = os::cpu_units(os::CpuUnit::hwthread, allowed);
      break;
    case BindingUnit::core:
      sets = os::cpu_units(os::CpuUnit::core, allowed);
      break;
    case BindingUnit::socket:
      sets = os::cpu_units(os::CpuUnit::socket, allowed);
      break;
    case BindingUnit::list:
      sets = binding.sets;
      break;
  }
  for (const os::CpuSet& set : sets) {
    for (const std::uint32_t cpu : set) {
      if (std::ranges::count(allowed, cpu) == 0)
        throw os::OsError(EINVAL, "sched_setaffinity", "CPU " + std::to_string(cpu));
    }
  }
  sets_ = std::move(sets);
}

const os::CpuSet& Binding::next() {
  static const os::CpuSet kNone;
  return sets_.empty() ? kNone : sets_[given_++ % sets_.size()];
}

}  // namespace wireup::agent
