#include "os/proc_pids.h"

#include <charconv>

#include "os/text_file.h"

namespace wireup::os {

std::vector<pid_t> proc_pids(const std::string& process) {
  const std::string status = read_text("/proc/" + process + "/status");
  std::vector<pid_t> pids;
  for (const std::string_view word : words_of(rest_of_line(status, "NSpid:").value_or(""))) {
    pid_t pid = 0;
    std::from_chars(word.data(), word.data() + word.size(), pid);
    pids.push_back(pid);
  }
  return pids;
}

bool proc_is_of_our_namespace() { return proc_pids("self").size() == 1; }

}  // namespace wireup::os
