// wireup-exec: runs a program that supports only PMI_FD. It connects to PMI_PORT, sends PMI_ID, and executes
// the program with the connection as PMI_FD. See kHelp.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "os/error.h"
#include "os/start_process.h"
#include "runtime/rank_environment.h"
#include "tools/client/connection.h"
#include "tools/client/deadline.h"
#include "tools/client/failure.h"
#include "tools/exec/handshake.h"
#include "wire/printable.h"

#ifndef WIREUP_VERSION
#define WIREUP_VERSION "0.1.0"
#endif

namespace {

constexpr char kHelp[] =
    "Usage: wireup-exec [--timeout SECONDS] program [args...]\n"
    "\n"
    "Runs a program as a rank of the PMI server that PMI_PORT names, where an inherited fd cannot reach:\n"
    "in a container, or behind anything that closes fds. Any PMI-1 program works, whatever PMI_PORT it knows "
    "itself.\n"
    "\n"
    "  PMI_PORT  host:port, [ipv6]:port, unix:///path or unix://@name (the abstract namespace)\n"
    "  PMI_ID    what the launcher gave this rank\n"
    "\n"
    "The program gets PMI_FD, PMI_RANK and PMI_SIZE, and neither PMI_PORT nor PMI_ID. Without PMI_PORT it is "
    "run\n"
    "with the environment as it is.\n"
    "\n"
    "  --timeout SECONDS  for the look-up of a name, connecting and the handshake together; 10 by default\n"
    "\n"
    "Exit codes: those of the program; 1 no connection, or refused; 2 wrong use; 126 the program cannot be\n"
    "executed; 127 there is no such program.\n";

constexpr int kExitConnection = 1;
constexpr int kExitUsage = 2;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// A server accepts and replies within milliseconds. Under load it may take seconds.
constexpr std::chrono::seconds kTimeout{10};
constexpr int kMaxTimeout = 24 * 60 * 60;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Prints one line on stderr.
void complain(const std::string& what) {
  std::fprintf(stderr, "wireup-exec: %s\n", wireup::wire::printable(what).c_str());
}

int cannot_run(const std::string& program, int error) {
  complain("cannot run " + program + ": " + std::strerror(error));
  return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

// Keeps the socket open across execve(2), as the fd that ranks use for PMI_FD, or as the next free one.
int give_away(wireup::os::UniqueFd socket) {
  wireup::os::set_nonblocking(socket.get(), false);
  const int fd = ::fcntl(socket.get(), F_DUPFD, wireup::runtime::kChannelFd);
  if (fd < 0) throw wireup::os::OsError::last("fcntl", "F_DUPFD");
  return fd;
}

void become_rank(std::chrono::seconds timeout) {
  const std::string port = variable("PMI_PORT");
  const std::string id = variable("PMI_ID");
  if (port.empty()) return;
  if (id.empty()) {
    throw wireup::client::Failure(
        "PMI_PORT is set, but PMI_ID is not; a launcher sets both (see: wireup serve --help)");
  }
  const wireup::client::Deadline deadline(timeout);
  wireup::client::Connection connection = wireup::client::connect_to_server(port, deadline);
  const wireup::exec::Identity identity = wireup::exec::handshake(connection, id, deadline);

  ::setenv("PMI_FD", std::to_string(give_away(std::move(connection.socket))).c_str(), 1);
  ::setenv("PMI_RANK", std::to_string(identity.rank).c_str(), 1);
  ::setenv("PMI_SIZE", std::to_string(identity.size).c_str(), 1);
  ::unsetenv("PMI_PORT");
  ::unsetenv("PMI_ID");
}

// Whole seconds; 0 if the text is not a number from 1 to kMaxTimeout.
std::chrono::seconds to_seconds(std::string_view text) {
  int value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good =
      error == std::errc() && stop == text.data() + text.size() && value > 0 && value <= kMaxTimeout;
  return std::chrono::seconds(good ? value : 0);
}

int usage(const std::string& message) {
  complain(message);
  return kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  int first = 1;
  std::chrono::seconds timeout = kTimeout;
  for (; first < argc && argv[first][0] == '-'; ++first) {
    const std::string_view option = argv[first];
    if (option == "--help") return std::fputs(kHelp, stdout), 0;
    if (option == "--version") return std::puts(WIREUP_VERSION), 0;
    if (option == "--") {
      ++first;
      break;
    }
    if (option != "--timeout") return usage("unknown option " + std::string(option) + "; try --help");
    if (++first < argc) timeout = to_seconds(argv[first]);
    if (first >= argc || timeout == std::chrono::seconds::zero()) {
      return usage("--timeout: expected whole seconds from 1 to " + std::to_string(kMaxTimeout) +
                   (first < argc ? ", got " + std::string(argv[first]) : ""));
    }
  }
  if (first >= argc) return usage("which program? Usage: wireup-exec program [args...]");
  char** const program = argv + first;

  std::string file;
  try {
    // Before it connects: otherwise a missing program would look like a rank that connects and exits.
    file = wireup::os::find_program(program[0], variable("PATH"), "");
  } catch (const wireup::os::OsError& error) {
    return cannot_run(program[0], error.code().value());
  }
  try {
    become_rank(timeout);
  } catch (const std::exception& error) {
    complain(error.what());
    return kExitConnection;
  }
  ::execvp(program[0], program);
  const int error = errno;
  return cannot_run(
      program[0] + (error == ENOENT ? wireup::os::missing_interpreter(file, "") : std::string()), error);
}
