#include "runtime/child_process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "os/support.h"

namespace wireup::runtime {

using namespace os::test;

TEST_CASE("process: an end whose status the owner took is told") {
  os::Reactor reactor;
  os::ProcessSpec spec;
  spec.path = "/bin/sh";
  spec.args = {"sh", "-c", "exit 3"};
  std::optional<os::ExitStatus> told;
  ChildProcess process(reactor, spec, [&](const os::ExitStatus& status) { told = status; });
  REQUIRE(waitpid(process.pid(), nullptr, 0) == process.pid());
  run_until(reactor, [&] { return told.has_value(); });
  CHECK_FALSE(told->signaled);
  CHECK(told->value == 0);
}

TEST_CASE("process: one that cannot be watched is killed and reaped") {
  os::Reactor reactor;
  // Nothing can be added to it any more.
  const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const auto& [number, inode] : fds_of(::getpid())) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(number), gone);
    if (target == "anon_inode:[eventpoll]") REQUIRE(::dup3(null.get(), number, O_CLOEXEC) == number);
  }
  os::ProcessSpec spec;
  spec.path = "/bin/sleep";
  spec.args = {"sleep", "1000"};
  CHECK_THROWS_AS(ChildProcess(reactor, spec, [](const os::ExitStatus&) {}), os::OsError);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

}  // namespace wireup::runtime
