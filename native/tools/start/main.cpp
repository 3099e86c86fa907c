// The installed wireup command. `wireup tap` executes wireup-tap, which must start without the delay of Node,
// and inherit everything unchanged. Any other command is Node's. For these, this program records the state
// that Node changes at its start (os/caller.h), and executes Node with cli.js. If its name is mpiexec.wireup,
// it passes this on. cli.js gets the caller's environment, arguments and fds unchanged, except for one more
// argument with the recorded state, and for the variables hidden from Node.
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/caller.h"
#include "os/error.h"
#include "runtime/caller_notes.h"

namespace {

constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// Loading a site's certificates can take as long as the rest of Node's start. The wireup command does not use
// TLS.
constexpr std::array<std::string_view, 1> kHidden{"NODE_EXTRA_CA_CERTS="};

// One thread instead of V8's default of four is enough.
constexpr const char* kNodeOption = "--v8-pool-size=1";

#if defined(__aarch64__)
#define WIREUP_PLATFORM "linux-arm64"
#else
#define WIREUP_PLATFORM "linux-x64"
#endif

// Where wireup-tap is, from dist; the last one if this program is in build/Release. lib/native.ts prefers
// build/ too.
constexpr std::array<const char*, 3> kTaps{"../build/Release/wireup-tap",
                                           "../prebuilds/" WIREUP_PLATFORM "/wireup-tap", "wireup-tap"};

// In the folder of this program; and if this program is in build/Release, in dist.
constexpr std::array<const char*, 2> kTools{"cli.js", "../../dist/cli.js"};

std::string folder_of_self() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (size < 0) throw wireup::os::OsError::last("readlink", "/proc/self/exe");
  const std::string_view self(path.data(), static_cast<std::size_t>(size));
  return std::string(self.substr(0, self.rfind('/') + 1));
}

// Returns the first of the files that exists. Throws OsError.
std::string find_in_own_folder(std::span<const char* const> files) {
  const std::string folder = folder_of_self();
  for (const char* file : files) {
    if (std::string path = folder + file; ::access(path.c_str(), R_OK) == 0) return path;
  }
  throw wireup::os::OsError(ENOENT, "open", folder + files.front());
}

// The name of the link or file through which this program was called.
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
    if (argc > 1 && std::string_view(argv[1]) == "tap" && !own_name().starts_with("mpiexec")) {
      const std::string tap = find_in_own_folder(kTaps);
      ::execv(tap.c_str(), argv + 1);
      throw wireup::os::OsError::last("execve", tap);
    }
    wireup::runtime::CallerNotes notes{wireup::os::note_caller()};
    const std::vector<char*> environment = hide_from_node(notes.hidden);
    wireup::os::fill_standard_fds();
    const std::string tool = find_in_own_folder(kTools);
    const std::string started =
        "--started-as=" + std::string(own_name()) + ':' + std::to_string(wireup::runtime::leave_notes(notes));
    std::vector<const char*> words{"node", kNodeOption, tool.c_str(), started.c_str()};
    words.insert(words.end(), argv + std::min(argc, 1), argv + argc);
    words.push_back(nullptr);
    // Finds node in PATH, as `env node` does. execvpe(3) does not change the strings.
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
