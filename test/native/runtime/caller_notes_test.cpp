// The notes of the starter for the `wireup` command, and the environment that ranks get.
#include "runtime/caller_notes.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/limits.h"
#include "runtime/rank_environment.h"

namespace {

using namespace wireup;

TEST_CASE("caller notes: they are read as they were written, once, and their fd is closed") {
  const runtime::CallerNotes notes{{{1, 64}, {10}, 1024, {3, 63}}, {"NODE_EXTRA_CA_CERTS=/a b\n"}};
  const int fd = runtime::leave_notes(notes);
  // The fd stays open across an exec.
  CHECK(::fcntl(fd, F_GETFD) == 0);
  const runtime::CallerNotes found = runtime::take_notes(fd);
  CHECK(found.caller.ignored_signals == notes.caller.ignored_signals);
  CHECK(found.caller.blocked_signals == notes.caller.blocked_signals);
  CHECK(found.caller.soft_files == 1024);
  CHECK(found.caller.fds == notes.caller.fds);
  CHECK(found.hidden == notes.hidden);
  CHECK(::fcntl(fd, F_GETFD) < 0);
}

TEST_CASE("caller notes: an fd without notes stays open and unread") {
  const os::UniqueFd other(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int fd : {other.get(), 987}) {
    try {
      runtime::take_notes(fd);
      FAIL("taken");
    } catch (const os::OsError& error) {
      CHECK(error.code().value() == EBADF);
    }
  }
  CHECK(::fcntl(other.get(), F_GETFD) >= 0);
}

TEST_CASE("caller notes: they describe what this process has inherited from its caller") {
  const os::UniqueFd file(::open("/dev/null", O_RDONLY));
  const auto before = std::signal(SIGUSR2, SIG_IGN);
  sigset_t blocked;
  sigset_t mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &mask);
  const os::Caller caller = os::note_caller();
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  std::signal(SIGUSR2, before);
  const auto has = [](const std::vector<std::int32_t>& numbers, int number) {
    return std::count(numbers.begin(), numbers.end(), number) == 1;
  };
  CHECK(has(caller.ignored_signals, SIGUSR2));
  CHECK(has(caller.blocked_signals, SIGUSR1));
  CHECK(has(caller.fds, file.get()));
  CHECK_FALSE(has(caller.fds, 2));
  CHECK(caller.soft_files == os::fd_limit().soft);
}

TEST_CASE("rank environment: environments are merged by names, and may contain any bytes") {
  using Variables = std::vector<std::string>;
  const Variables inherited{"A=1", "B=2", "B=3", "C=", "no sign", "\xe9=\xff"};
  CHECK(runtime::merge_environment(inherited, {}) == inherited);
  CHECK(runtime::merge_environment(inherited, {"B=new", "D=\xfe"}) ==
        Variables{"A=1", "C=", "no sign", "\xe9=\xff", "B=new", "D=\xfe"});
  CHECK(runtime::merge_environment(inherited, {"A=x"}, {"A", "B", "missing"}) ==
        Variables{"C=", "no sign", "\xe9=\xff", "A=x"});
  const std::string block("A=1\0\xe9=b\0", 8);
  CHECK(runtime::split_block(block) == Variables{"A=1", "\xe9=b"});
  CHECK(runtime::split_block("").empty());
}

TEST_CASE("rank environment: a network interface is chosen by MPICH's variable, by any of its names") {
  CHECK(runtime::chooses_interface({"A=1", "MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE=ib0"}));
  CHECK(runtime::chooses_interface({"MPICH_NETWORK_IFACE="}));
  CHECK_FALSE(runtime::chooses_interface({"MPIR_CVAR_CH3_INTERFACE_HOSTNAME=n1", "A=MPICH_NETWORK_IFACE"}));
  CHECK_FALSE(runtime::chooses_interface({}));
}

TEST_CASE(
    "rank environment: ranks inherit all variables, or those that are named, but no stale PMI variables") {
  ::setenv("PMI_FD", "3", 1);
  ::setenv("CALLER_NOTES_TEST", "\xe9", 1);
  const std::string all = runtime::own_environment_block(std::nullopt);
  CHECK(all.find("PMI_FD") == std::string::npos);
  CHECK(all.find(std::string("CALLER_NOTES_TEST=\xe9\0", 20)) != std::string::npos);
  CHECK(runtime::own_environment_block(std::vector<std::string>{"CALLER_NOTES_TEST", "PMI_FD", "missing"}) ==
        std::string("CALLER_NOTES_TEST=\xe9\0", 20));
  ::unsetenv("PMI_FD");
  ::unsetenv("CALLER_NOTES_TEST");
}

}  // namespace
