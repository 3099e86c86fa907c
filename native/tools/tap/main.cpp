// wireup-tap: records the PMI messages between a program and its server, and passes them on. `wireup tap` is
// this program (native/tools/start executes it). options.cpp has the help.
//
// The program must run as without the tap, so it gets this process: exit code, signals, terminal, process id
// and stdio need no help. A process of its own passes the bytes on (class Proxy). It is a grandchild, so the
// program has no child that it did not start; it is in a session of its own and blocks all signals, so the
// signals of a job do not end it before the program; and it holds no file of the program, so that a launcher
// which waits for the end of stdout does not wait for the proxy. The proxy ends when both sides of the
// connection have ended.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "os/error.h"
#include "os/fd.h"
#include "os/start_process.h"
#include "tools/tap/find_pmi.h"
#include "tools/tap/options.h"
#include "tools/tap/proxy_process.h"
#include "tools/tap/recorder.h"
#include "wire/printable.h"

namespace {

using namespace wireup;
using namespace wireup::tap;

constexpr int kExitFailure = 1;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// Prints one line on stderr.
void report(const std::string& what) {
  std::fprintf(stderr, "wireup tap: %s\n", wire::printable(what).c_str());
}

int cannot_run(const std::string& program, int error) {
  report("cannot run " + program + ": " + std::strerror(error));
  return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::optional<std::uint32_t> to_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

// The name of the file of this rank.
std::string expand(std::string_view pattern, std::string_view rank, std::string_view host) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%' || i + 1 == pattern.size()) {
      name += pattern[i];
      continue;
    }
    switch (const char letter = pattern[++i]) {
      case 'r':
        name += rank.empty() ? "unknown" : rank;
        break;
      case 'h':
        name += host;
        break;
      case 'p':
        name += std::to_string(::getpid());
        break;
      case '%':
        name += '%';
        break;
      default:
        name += {'%', letter};
    }
  }
  return name;
}

bool names_ranks(std::string_view pattern) {
  return pattern.find("%r") != std::string_view::npos || pattern.find("%p") != std::string_view::npos;
}

bool is_json(std::string_view file) { return file.ends_with(".json") || file.ends_with(".jsonl"); }

// What the proxy writes to. Throws os::OsError.
os::UniqueFd open_recording(const std::string& file) {
  if (file.empty()) return os::duplicate(STDERR_FILENO);
  os::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666));
  if (!fd) throw os::OsError::last("open", file);
  return fd;
}

// Starts the proxy, and gives this process its connection in place of the server's.
void insert_proxy(PmiConnection found, os::UniqueFd file, const RecorderOptions& options) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw os::OsError::last("socketpair");
  }
  os::UniqueFd program(ends[0]);
  os::UniqueFd proxy(ends[1]);
  const int program_fd = found.program_fd;
  const bool takes_place = found.transport == "fd";
  const std::vector<Variable> set = found.set;
  const std::vector<std::string> unset = found.unset;
  const pid_t self = ::getpid();

  sigset_t child;
  sigset_t pending;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  ::sigpending(&pending);
  const pid_t between = ::fork();
  if (between < 0) throw os::OsError::last("fork");
  if (between == 0) {
    const pid_t grandchild = ::fork();
    if (grandchild != 0) ::_exit(grandchild < 0 ? errno : 0);
    try {
      program.reset();
      run_proxy(std::move(found), std::move(proxy), std::move(file), options, self);
    } catch (const std::exception&) {
      // stderr may be closed. The program sees that its connection has ended.
      ::_exit(kExitFailure);
    }
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  // If the caller blocks SIGCHLD, the program must not find that of this child.
  constexpr timespec kNow{};
  if (sigismember(&pending, SIGCHLD) == 0) ::sigtimedwait(&child, nullptr, &kNow);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) throw os::OsError(WEXITSTATUS(status), "fork");

  // dup2 and F_DUPFD make a descriptor without CLOEXEC.
  const int own =
      takes_place ? ::dup2(program.get(), program_fd) : ::fcntl(program.get(), F_DUPFD, program_fd);
  if (own < 0) throw os::OsError::last("dup2");
  for (const auto& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
  for (const std::string& name : unset) ::unsetenv(name.c_str());
  if (!takes_place) ::setenv("PMI_FD", std::to_string(own).c_str(), 1);
}

// Returns an exit code if the program must not run.
std::optional<int> insert_tap(const Options& options) {
  Found found = find_pmi();
  if (!found.connection) {
    if (found.is_fault || options.verbose) report(found.reason + "; the program runs without a recording");
    return std::nullopt;
  }
  PmiConnection& connection = *found.connection;
  RecorderOptions recorder;
  recorder.host = host_name();
  recorder.secrets = options.secrets;
  recorder.rank = to_number(connection.rank);
  recorder.size = to_number(connection.size);
  // The number of a spawned group is not known here. It is not that of the launched one.
  recorder.group = connection.spawned ? 1 : 0;
  if (!options.file.empty() && !names_ranks(options.file) && recorder.size.value_or(2) > 1) {
    report("--trace-file '" + options.file +
           "': the ranks of this job would write to the same file; use %r or %p");
    return kExitUsage;
  }
  const std::string file = expand(options.file, connection.rank, recorder.host);
  if (is_json(file)) recorder.form = wire::RecordForm::json;
  if (options.verbose) {
    report("rank " + (connection.rank.empty() ? "?" : connection.rank) + " by " +
           std::string(connection.transport) + ", recorded to " + (file.empty() ? "stderr" : file));
  }
  os::UniqueFd output;
  try {
    output = open_recording(file);
  } catch (const os::OsError& error) {
    report("cannot write the recording " + file + ": " + error.code().message());
    return kExitFailure;
  }
  begin_recording(output.get(), recorder);
  insert_proxy(std::move(connection), std::move(output), recorder);
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const CommandLine line = parse_command_line(argc, argv);
  if (line.options.program == nullptr) {
    std::fputs(line.text.c_str(), line.exit_code == 0 ? stdout : stderr);
    return line.exit_code;
  }
  char** const program = line.options.program;
  std::string file;
  try {
    // First: otherwise the server would see a rank that connects and exits.
    const char* path = std::getenv("PATH");
    file = os::find_program(program[0], path == nullptr ? "" : path, "");
  } catch (const os::OsError& error) {
    return cannot_run(program[0], error.code().value());
  }
  try {
    if (const std::optional<int> code = insert_tap(line.options)) return *code;
  } catch (const std::exception& error) {
    report(error.what());
    return kExitFailure;
  }
  ::execvp(program[0], program);
  const int error = errno;
  return cannot_run(program[0] + (error == ENOENT ? os::missing_interpreter(file, "") : std::string()),
                    error);
}
