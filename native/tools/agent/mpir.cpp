#include "tools/agent/mpir.h"

// `used`: no code reads them, and the linker must keep them.
extern "C" {
__attribute__((used, visibility("default"))) MPIR_PROCDESC* MPIR_proctable = nullptr;
__attribute__((used, visibility("default"))) int MPIR_proctable_size = 0;
}

namespace wireup::agent {

ProcessTable::~ProcessTable() {
  MPIR_proctable_size = 0;
  MPIR_proctable = nullptr;
}

void ProcessTable::add(const std::string& host, std::uint32_t rank, pid_t pid,
                       const std::string& executable) {
  if (hosts_.empty() || hosts_.back() != host) hosts_.push_back(host);
  if (executables_.empty() || executables_.back() != executable) executables_.push_back(executable);
  // A debugger that reads during the change finds an empty table.
  MPIR_proctable_size = 0;
  if (rank >= rows_.size()) rows_.resize(rank + 1, {"", "", 0});
  rows_[rank] = {hosts_.back().c_str(), executables_.back().c_str(), pid};
  MPIR_proctable = rows_.data();
  MPIR_proctable_size = static_cast<int>(rows_.size());
}

}  // namespace wireup::agent
