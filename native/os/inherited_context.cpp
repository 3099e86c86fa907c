#include "os/inherited_context.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace wireup::os {
namespace {

// umask(2) cannot read the umask without changing it for all threads. Linux has "Umask:" since 4.7
// (proc_pid_status(5)).
mode_t umask_of_self() {
  std::ifstream status("/proc/self/status");
  std::string word;
  mode_t value = 0;
  while (status >> word) {
    if (word == "Umask:") {
      status >> std::oct >> value;
      break;
    }
  }
  return value;
}

}  // namespace

InheritedContext inherited_context() {
  InheritedContext result{.user = ::geteuid(), .group = ::getegid(), .umask = umask_of_self()};
  struct stat folder {};
  if (::stat(".", &folder) == 0) {
    result.device = folder.st_dev;
    result.folder = folder.st_ino;
  }
  return result;
}

}  // namespace wireup::os
