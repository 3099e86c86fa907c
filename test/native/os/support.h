// Helpers of the tests of os/: running a reactor until a condition holds, temporary folders, lists of fds.
#pragma once

#include <dirent.h>
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include "os/error.h"
#include "os/fd.h"
#include "os/io_ring.h"
#include "os/reactor.h"

namespace wireup::os::test {

using namespace std::chrono_literals;

inline constexpr auto kTimeout = 20s;

// A uid that no user of a machine has.
inline constexpr uid_t kOtherUser = 54'321;

// False if the kernel is too old for io_uring, or refuses it.
inline bool has_io_uring() { return IoRing::open() != nullptr; }

// A test case that runs twice by the same code: with plain system calls and with io_uring. The second run is
// skipped, and counted as skipped, on a machine without io_uring. The body finds `use` for its Reactor.
#define WIREUP_ON_BOTH_BACKENDS(function, name)                                      \
  static void function(UseIoUring use);                                              \
  TEST_CASE(name " (plain)") { function(UseIoUring::never); }                        \
  TEST_CASE(name " (io_uring)" * doctest::skip(!wireup::os::test::has_io_uring())) { \
    function(UseIoUring::always);                                                    \
  }                                                                                  \
  static void function([[maybe_unused]] UseIoUring use)
#define TEST_ON_BOTH_BACKENDS(name) WIREUP_ON_BOTH_BACKENDS(DOCTEST_ANONYMOUS(test_on_backend_), name)

inline bool is_root() { return ::geteuid() == 0; }

// Runs the reactor until done() is true. Fails the test after kTimeout.
inline void run_until(Reactor& reactor, const std::function<bool()>& done) {
  const auto deadline = Reactor::Clock::now() + kTimeout;
  std::function<void()> look = [&] {
    if (done() || Reactor::Clock::now() > deadline) {
      reactor.stop();
    } else {
      reactor.after(1ms, look);
    }
  };
  reactor.post(look);
  reactor.run();
  REQUIRE(done());
}

// Runs one turn.
inline void run_once(Reactor& reactor) {
  reactor.stop();
  reactor.run();
}

class TemporaryFolder {
 public:
  TemporaryFolder() : path_("/tmp/wireup-test-XXXXXX") { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, const std::string& text, mode_t mode) {
  std::ofstream(path) << text;
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

inline ino_t inode(int fd) {
  struct stat status;
  REQUIRE(::fstat(fd, &status) == 0);
  return status.st_ino;
}

// The inode of each fd of a process. The process must not change its fds during the call.
inline std::map<int, ino_t> fds_of(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  std::map<int, ino_t> fds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    struct stat status;
    if (::stat(entry.path().c_str(), &status) == 0) fds[std::stoi(entry.path().filename())] = status.st_ino;
  }
  return fds;
}

// The errno and system call of the OsError that `call` throws; {0, ""} if it throws none.
template <typename Call>
std::pair<int, std::string> thrown_by(Call call) {
  try {
    call();
  } catch (const OsError& error) {
    return {error.code().value(), error.syscall()};
  }
  return {0, ""};
}

inline bool operator==(const std::pair<int, std::string>& thrown, int error) { return thrown.first == error; }

// An address in 127.0.0.0/8 that only this process uses, so that no other process listens on it or takes a
// port that was just closed.
inline std::string own_loopback() {
  const int pid = ::getpid();
  return "127." + std::to_string(64 + (pid >> 16 & 63)) + "." + std::to_string(pid >> 8 & 255) + "." +
         std::to_string(pid & 255);
}

}  // namespace wireup::os::test
