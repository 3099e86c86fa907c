#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "os/error.h"
#include "os/start_process.h"

namespace wireup::os {

namespace {

// Returns 0, or the errno with which execve(2) would refuse the file.
int check(const std::string& file, const std::string& directory) {
  const std::string from_here = directory.empty() || file.front() == '/' ? file : directory + "/" + file;
  struct stat status;
  if (::stat(from_here.c_str(), &status) < 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return ::faccessat(AT_FDCWD, from_here.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

// The system's default for PATH (confstr(3)).
std::string default_path() {
  std::string path(::confstr(_CS_PATH, nullptr, 0), '\0');
  ::confstr(_CS_PATH, path.data(), path.size());
  path.pop_back();
  return path;
}

}  // namespace

std::string find_program(const std::string& program, const std::string& path, const std::string& directory) {
  if (program.find('/') != std::string::npos) {
    const int error = check(program, directory);
    if (error != 0) throw OsError(error, "execve", program);
    return program;
  }
  if (program.empty()) throw OsError(ENOENT, "execve", program);
  const std::string searched = path.empty() ? default_path() : path;
  bool denied = false;
  std::string_view rest = searched;
  for (;;) {
    const std::size_t colon = rest.find(':');
    std::string element(rest.substr(0, colon));
    // An empty element is the directory itself.
    std::string file = (element.empty() ? "." : std::move(element)) + "/" + program;
    const int error = check(file, directory);
    if (error == 0) return file;
    if (error == EACCES) denied = true;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  throw OsError(denied ? EACCES : ENOENT, "execve", program);
}

}  // namespace wireup::os
