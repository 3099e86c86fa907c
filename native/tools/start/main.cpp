// wireup, as it is installed: notes what Node destroys at its own start and executes Node with the tool.
// Called as mpiexec.wireup, it tells the tool so. The environment, the arguments and the fds of its caller
// reach the tool unchanged but for one argument, by which the tool finds the notes, and the variables that
// are hidden from Node.
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "os/caller.h"
#include "os/error.h"
#include "runtime/caller_notes.h"

namespace {

constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// Certificates of a site can take Node's own start as long as all the rest, and the tool speaks no TLS.
constexpr std::array<std::string_view, 1> kHidden{"NODE_EXTRA_CA_CERTS="};

// Of the four threads that V8 has by default one will do.
constexpr const char* kNodeOption = "--v8-pool-size=1";

// Beside us, and where it is when we are in build/.
constexpr std::array<const char*, 2> kTools{"cli.js", "../../dist/cli.js"};

std::string folder_of_self() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (size < 0) throw wireup::os::OsError::last("readlink", "/proc/self/exe");
  const std::string_view self(path.data(), static_cast<std::size_t>(size));
  return std::string(self.substr(0, self.rfind('/') + 1));
}

std::string find_tool() {
  const std::string folder = folder_of_self();
  for (const char* tool : kTools) {
    if (const std::string path = folder + tool; ::access(path.c_str(), R_OK) == 0) return path;
  }
  throw wireup::os::OsError(ENOENT, "open", folder + kTools.front());
}

// How we were called: through which link.
std::string_view own_name() {
  const auto* path = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  const std::string_view text(path == nullptr ? "wireup" : path);
  return text.substr(text.rfind('/') + 1);
}

std::vector<char*> hide_from_node(std::vector<std::string>& hidden) {
  std::vector<char*> shown;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const auto is_this = [variable](std::string_view name) {
      return std::string_view(*variable).starts_with(name);
    };
    if (std::ranges::any_of(kHidden, is_this)) {
      hidden.emplace_back(*variable);
    } else {
      shown.push_back(*variable);
    }
  }
  shown.push_back(nullptr);
  return shown;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    wireup::runtime::CallerNotes notes{wireup::os::note_caller()};
    const std::vector<char*> environment = hide_from_node(notes.hidden);
    wireup::os::fill_standard_fds();
    const std::string tool = find_tool();
    const std::string started =
        "--started-as=" + std::string(own_name()) + ':' + std::to_string(wireup::runtime::leave_notes(notes));
    std::vector<const char*> words{"node", kNodeOption, tool.c_str(), started.c_str()};
    words.insert(words.end(), argv + std::min(argc, 1), argv + argc);
    words.push_back(nullptr);
    // As `env node` finds it. execve's parameters are not const for C's sake only.
    ::execvpe("node", const_cast<char* const*>(words.data()), environment.data());
    const int error = errno;
    std::fprintf(stderr, "wireup: node: %s%s\n", std::strerror(error),
                 error == ENOENT ? ": Node.js is not in PATH" : "");
    return error == ENOENT ? kExitNotFound : kExitNotExecutable;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wireup: %s\n", error.what());
    return 1;
  }
}
