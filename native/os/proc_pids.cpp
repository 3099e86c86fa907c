#include "os/proc_pids.h"

#include <fstream>
#include <sstream>

namespace wireup::os {

std::vector<pid_t> proc_pids(const std::string& process) {
  std::ifstream status("/proc/" + process + "/status");
  std::string line;
  while (std::getline(status, line) && !line.starts_with("NSpid:")) {
  }
  std::istringstream words(line);
  std::string name;
  words >> name;
  std::vector<pid_t> pids;
  for (pid_t pid = 0; words >> pid;) pids.push_back(pid);
  return pids;
}

bool proc_is_of_our_namespace() { return proc_pids("self").size() == 1; }

}  // namespace wireup::os
