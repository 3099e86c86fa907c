// The process table of the MPIR interface (MPI Forum, "MPIR Process Acquisition Interface" 1.0, section 9),
// for debuggers that attach to the agent: they read the variables below by name out of its memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

extern "C" {
// The layout is the interface's.
struct MPIR_PROCDESC {
  const char* host_name;
  const char* executable_name;
  int pid;
};
extern MPIR_PROCDESC* MPIR_proctable;  // by rank; a rank that has not been started has pid 0
extern int MPIR_proctable_size;
}

namespace wireup::agent {

// Owns what MPIR_proctable shows. One at a time.
class ProcessTable {
 public:
  explicit ProcessTable(std::string host) : host_(std::move(host)) {}
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  void add(std::uint32_t rank, pid_t pid, const std::string& executable);

 private:
  std::string host_;
  std::deque<std::string> executables_;  // whose elements stay where they are
  std::vector<MPIR_PROCDESC> rows_;
};

}  // namespace wireup::agent
