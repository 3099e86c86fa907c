#include "runtime/child_process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/faults.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

os::ProcessSpec shell(std::string script) {
  os::ProcessSpec spec;
  spec.path = "/bin/sh";
  spec.args = {"sh", "-c", std::move(script)};
  return spec;
}

void ignore_exit(const os::ExitStatus&) {}

bool has_no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

}  // namespace

TEST_CASE("child process: an end whose status other code has taken is reported as exit code 0") {
  os::Reactor reactor;
  Reaper reaper(reactor);
  std::optional<os::ExitStatus> reported;
  ChildProcess process(reactor, reaper, shell("exit 3"),
                       [&](const os::ExitStatus& status) { reported = status; });
  REQUIRE(waitpid(process.pid(), nullptr, 0) == process.pid());
  run_until(reactor, [&] { return reported.has_value(); });
  CHECK_FALSE(reported->signaled);
  CHECK(reported->value == 0);
}

TEST_CASE("child process: a child that cannot be watched is killed and reaped") {
  {
    os::Reactor reactor;
    Reaper reaper(reactor);
    // From now on nothing can be added to the reactor.
    const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const auto& [number, inode] : fds_of(::getpid())) {
      std::error_code gone;
      const auto target = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(number), gone);
      if (target == "anon_inode:[eventpoll]") REQUIRE(::dup3(null.get(), number, O_CLOEXEC) == number);
    }
    CHECK_THROWS_AS(ChildProcess(reactor, reaper, shell("exec sleep 1000"), ignore_exit), os::OsError);
    CHECK_FALSE(reaper.idle());
  }
  CHECK(has_no_children());
}

TEST_CASE("child process: its destructor kills the child and does not wait for its end") {
  os::Reactor reactor;
  bool idle = false;
  Reaper reaper(reactor, [&] { idle = true; });
  {
    const ChildProcess process(reactor, reaper, shell("exec sleep 1000"), ignore_exit);
    CHECK(reaper.idle());
  }
  CHECK_FALSE(reaper.idle());
  run_until(reactor, [&] { return idle; });
  CHECK(reaper.idle());
  CHECK(has_no_children());
}

TEST_CASE("child process: a child that was given up may end by itself within the grace") {
  os::Reactor reactor;
  bool idle = false;
  Reaper reaper(reactor, [&] { idle = true; });
  const TemporaryFolder folder;
  const std::string file = folder / "ended";
  os::FdPair pipe = os::make_pipe();
  os::ProcessSpec spec = shell("read line; echo \"$line\" > " + file);
  spec.fds = {{pipe.first.get(), STDIN_FILENO}};
  ChildProcess process(reactor, reaper, spec, ignore_exit);
  process.give_up(std::chrono::seconds(20));
  wireup::test::write_all(pipe.second.get(), "in good order\n");
  run_until(reactor, [&] { return idle; });
  CHECK(read_file(file) == "in good order\n");
}

TEST_CASE("child process: a child that does not end within the grace is killed") {
  os::Reactor reactor;
  bool idle = false;
  Reaper reaper(reactor, [&] { idle = true; });
  ChildProcess process(reactor, reaper, shell("trap '' TERM; exec sleep 1000"), ignore_exit);
  process.give_up(std::chrono::milliseconds(10));
  run_until(reactor, [&] { return idle; });
  CHECK(has_no_children());
}

TEST_CASE("child process: no fault leaves a child behind") {
  for (const auto kind : {wireup::test::FaultKind::allocation, wireup::test::FaultKind::system_call}) {
    for (const auto length : {wireup::test::FaultLength::once, wireup::test::FaultLength::from_then_on}) {
      const os::ProcessSpec spec = shell("exec sleep 1000");
      const auto faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
        os::Reactor reactor;
        Reaper reaper(reactor);
        const wireup::test::Fault fault({kind, wireup::test::FaultThread::own, length}, nth);
        try {
          const ChildProcess process(reactor, reaper, spec, ignore_exit);
        } catch (const std::exception&) {
        }
        return fault.hit();
      });
      CHECK(faults >= 2);
      CHECK(has_no_children());
    }
  }
}

TEST_CASE("start_processes: no fault leaves a child behind that the caller does not get") {
  const auto fds = fds_of(::getpid());
  for (const auto kind : {wireup::test::FaultKind::allocation, wireup::test::FaultKind::system_call}) {
    for (const auto length : {wireup::test::FaultLength::once, wireup::test::FaultLength::from_then_on}) {
      std::vector<os::ProcessSpec> specs{shell("exec sleep 1000"), shell("exec sleep 1000"),
                                         shell("exec sleep 1000")};
      specs[1].path = "/no/such/file/with/a/name/for/which/a/message/allocates";
      const auto faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
        const wireup::test::Fault fault({kind, wireup::test::FaultThread::own, length}, nth);
        try {
          for (os::StartResult& result : os::start_processes(specs)) {
            const auto* const process = std::get_if<os::StartedProcess>(&result);
            if (process == nullptr) continue;
            CHECK(::kill(process->pid, SIGKILL) == 0);
            CHECK(::waitpid(process->pid, nullptr, 0) == process->pid);
          }
        } catch (const std::bad_alloc&) {
        }
        return fault.hit();
      });
      CHECK(faults >= specs.size());
      CHECK(has_no_children());
    }
  }
  CHECK(fds_of(::getpid()) == fds);
}

}  // namespace wireup::runtime
