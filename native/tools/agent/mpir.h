// The process table of the MPIR interface (MPI Forum, "MPIR Process Acquisition Interface" 1.0, section 9). A
// debugger that attaches to the agent reads these variables from its memory, by name.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

extern "C" {
// The interface defines the layout.
struct MPIR_PROCDESC {
  const char* host_name;
  const char* executable_name;
  int pid;
};
extern MPIR_PROCDESC* MPIR_proctable;  // by rank; pid 0: not started
extern int MPIR_proctable_size;
}

namespace wireup::agent {

// Owns the data of MPIR_proctable. Only one may exist at a time.
class ProcessTable {
 public:
  ProcessTable() = default;
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  void add(const std::string& host, std::uint32_t rank, pid_t pid, const std::string& executable);

 private:
  // A deque does not move its elements.
  std::deque<std::string> hosts_;
  std::deque<std::string> executables_;
  std::vector<MPIR_PROCDESC> rows_;
};

}  // namespace wireup::agent
