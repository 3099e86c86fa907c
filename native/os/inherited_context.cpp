#include "os/inherited_context.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

#include "os/text_file.h"

namespace wireup::os {
namespace {

// umask(2) cannot read the umask without changing it for all threads. Linux has "Umask:" since 4.7
// (proc_pid_status(5)).
mode_t umask_of_self() {
  const std::string status = read_text("/proc/self/status");
  const auto words = words_of(rest_of_line(status, "Umask:").value_or(""));
  constexpr int kOctal = 8;
  mode_t value = 0;
  if (!words.empty()) std::from_chars(words[0].data(), words[0].data() + words[0].size(), value, kOctal);
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
