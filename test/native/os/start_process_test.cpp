#include "os/start_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <sstream>
#include <thread>

#include "os/limits.h"
#include "os/start_process_support.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// A child that runs until its stdin ends: cat. The constructor waits until it has echoed a line.
class Cat {
 public:
  explicit Cat(Form form, ProcessSpec spec = {}) {
    FdPair in = make_pipe();
    FdPair out = make_pipe();
    spec.path = "/bin/cat";
    spec.args = {"cat"};
    spec.fds.emplace_back(in.first.get(), 0);
    spec.fds.emplace_back(out.second.get(), 1);
    inodes = {{0, inode(in.first.get())}, {1, inode(out.second.get())}};
    process = start(form, spec);
    input = std::move(in.second);
    REQUIRE(::write(input.get(), "\n", 1) == 1);
    char answer;
    REQUIRE(::read(out.first.get(), &answer, 1) == 1);
  }
  ~Cat() {
    input.reset();
    wait_for(process);
  }
  // One line of /proc/PID/status.
  std::string status(const std::string& name) const {
    std::istringstream lines(read_file("/proc/" + std::to_string(process.pid) + "/status"));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
    }
    return {};
  }
  StartedProcess process;
  UniqueFd input;
  std::map<int, ino_t> inodes;
};

UniqueFd memory_file() {
  UniqueFd fd(::memfd_create("wireup-test", MFD_CLOEXEC));
  REQUIRE(fd);
  return fd;
}

// The output of /bin/sh with `script`.
std::string shell(Form form, ProcessSpec spec, const std::string& script) {
  FdPair out = make_pipe();
  spec.path = "/bin/sh";
  spec.args = {"sh", "-c", script};
  spec.fds.emplace_back(out.second.get(), 1);
  const StartedProcess process = start(form, spec);
  out.second.reset();
  std::string text = read_all(out.first.get());
  wait_for(process);
  return text;
}

struct IgnoredHere {
  explicit IgnoredHere(int signal) : signal(signal), before(::signal(signal, SIG_IGN)) {}
  ~IgnoredHere() { ::signal(signal, before); }
  int signal;
  void (*before)(int);
};

}  // namespace

TEST_IN_ALL_FORMS("start_process: exit codes and signals") {
  ProcessSpec spec = program("/bin/sh");
  spec.args = {"sh", "-c", "exit 7"};
  ExitStatus status = wait_for(start(form, spec));
  CHECK_FALSE(status.signaled);
  CHECK(status.value == 7);
  spec.args = {"sh", "-c", "kill -TERM $$"};
  status = wait_for(start(form, spec));
  CHECK(status.signaled);
  CHECK(status.value == SIGTERM);
  CHECK_FALSE(status.core_dumped);
}

TEST_IN_ALL_FORMS("start_process: try_wait() while the child runs, and after it was reaped elsewhere") {
  Cat cat(form);
  ExitStatus status;
  CHECK_FALSE(try_wait(cat.process.pidfd.get(), status));
  CHECK((::fcntl(cat.process.pidfd.get(), F_GETFD) & FD_CLOEXEC) != 0);

  const StartedProcess other = start(form, program("/bin/true"));
  wait_for(other);
  CHECK(thrown_by([&] { try_wait(other.pidfd.get(), status); }) == ECHILD);
}

TEST_IN_ALL_FORMS("start_process: the child has the given arguments, environment and directory") {
  TemporaryFolder folder;
  ProcessSpec spec;
  spec.environment = {"A=1", "B=two words", "PATH=/bin:/usr/bin"};
  spec.directory = folder.path();
  CHECK(shell(form, spec, "echo \"$A,$B,$PWD\"") == "1,two words," + folder.path() + "\n");
  write_file(folder / "here", "#!/bin/sh\nexit 3\n", 0755);
  spec = program("./here");
  spec.directory = folder.path();
  CHECK(wait_for(start(form, spec)).value == 3);
}

TEST_IN_ALL_FORMS("start_process: the child has the given fds and no others") {
  // Fds without CLOEXEC, and with high numbers, are closed too.
  const UniqueFd open_low(::dup(STDERR_FILENO));
  const UniqueFd open_high(::fcntl(STDERR_FILENO, F_DUPFD, 900));
  Cat cat(form);
  CHECK(fds_of(cat.process.pid) == cat.inodes);
}

TEST_IN_ALL_FORMS("start_process: maps fds in every permutation") {
  const std::array<int, 4> numbers{40, 41, 42, 43};
  std::array<UniqueFd, 4> files;
  for (std::size_t i = 0; i < files.size(); i++) {
    const UniqueFd file = memory_file();
    files[i].reset(::fcntl(file.get(), F_DUPFD_CLOEXEC, numbers[i]));
    REQUIRE(files[i].get() == numbers[i]);
  }
  std::array<std::size_t, 4> order{0, 1, 2, 3};
  do {
    ProcessSpec spec;
    std::map<int, ino_t> expected;
    for (std::size_t i = 0; i < order.size(); i++) {
      spec.fds.emplace_back(numbers[i], numbers[order[i]]);
      expected[numbers[order[i]]] = inode(numbers[i]);
    }
    // One fd twice, a large number, and a gap.
    spec.fds.emplace_back(numbers[1], 3);
    spec.fds.emplace_back(numbers[2], 60);
    expected[3] = inode(numbers[1]);
    expected[60] = inode(numbers[2]);
    Cat cat(form, spec);
    expected.insert(cat.inodes.begin(), cat.inodes.end());
    CHECK(fds_of(cat.process.pid) == expected);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_IN_ALL_FORMS("start_process: the caller's fds do not change") {
  const UniqueFd file = memory_file();
  const auto before = fds_of(::getpid());
  {
    ProcessSpec spec;
    spec.fds = {{file.get(), file.get()}, {file.get(), 100}};
    Cat cat(form, spec);
    CHECK(fds_of(cat.process.pid).count(file.get()) == 1);
    CHECK((::fcntl(file.get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(fds_of(::getpid()) == before);
}

TEST_IN_ALL_FORMS("start_process: refuses invalid fd maps") {
  ProcessSpec spec = program("/bin/true");
  spec.fds = {{0, 5}, {1, 5}};
  CHECK(thrown_by([&] { start(form, spec); }) == EINVAL);
  spec.fds = {{-1, 5}};
  CHECK(thrown_by([&] { start(form, spec); }) == EBADF);
  spec.fds = {{0, -5}};
  CHECK(thrown_by([&] { start(form, spec); }) == EBADF);
  spec.fds = {{987, 5}};
  CHECK(thrown_by([&] { start(form, spec); }) == std::pair<int, std::string>(EBADF, "dup2"));
  spec.fds = {{987, 987}};
  CHECK(thrown_by([&] { start(form, spec); }) == std::pair<int, std::string>(EBADF, "fcntl"));
  CHECK(no_children());
}

TEST_IN_ALL_FORMS(
    "start_process: signals have the default action and are unblocked, except for the ignored ones") {
  const IgnoredHere pipe(SIGPIPE);
  const IgnoredHere hup(SIGHUP);
  const IgnoredHere user(SIGUSR1);
  const auto handler_before = ::signal(SIGUSR2, [](int) {});
  sigset_t all;
  sigset_t mask_before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &mask_before);
  {
    const sigset_t ignored = ignored_signals();
    CHECK(::sigismember(&ignored, SIGPIPE) == 1);
    CHECK(::sigismember(&ignored, SIGUSR2) == 0);
    ProcessSpec spec;
    ::sigemptyset(&spec.ignored_signals);
    ::sigaddset(&spec.ignored_signals, SIGHUP);
    Cat cat(form, spec);
    CHECK(cat.status("SigBlk") == "0000000000000000");
    CHECK(cat.status("SigCgt") == "0000000000000000");
    CHECK(cat.status("SigIgn") == "0000000000000001");

    // With the set of non-default signals from the caller.
    sigset_t not_default;
    ::sigemptyset(&not_default);
    for (const int number : {SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2}) ::sigaddset(&not_default, number);
    spec.not_default = &not_default;
    ::sigaddset(&spec.ignored_signals, SIGWINCH);
    Cat reset(form, spec);
    CHECK(reset.status("SigBlk") == "0000000000000000");
    CHECK(reset.status("SigCgt") == "0000000000000000");
    CHECK(reset.status("SigIgn") == "0000000008000001");
  }
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, &mask_before, &mask);
  ::signal(SIGUSR2, handler_before);
  CHECK(::sigismember(&mask, SIGTERM) == 1);
  CHECK(::sigismember(&mask, SIGUSR1) == 1);
}

TEST_IN_ALL_FORMS("start_process: sessions") {
  Cat same(form);
  CHECK(::getpgid(same.process.pid) == ::getpgrp());
  CHECK(::getsid(same.process.pid) == ::getsid(0));
  ProcessSpec spec;
  spec.new_session = true;
  Cat own(form, spec);
  CHECK(::getpgid(own.process.pid) == own.process.pid);
  CHECK(::getsid(own.process.pid) == own.process.pid);
}

TEST_IN_ALL_FORMS("start_process: the child has the given blocked signals and soft limit of open files") {
  const FdLimit before = fd_limit();
  const UniqueFd file = memory_file();
  ProcessSpec spec;
  ::sigemptyset(&spec.ignored_signals);
  ::sigemptyset(&spec.blocked_signals);
  ::sigaddset(&spec.blocked_signals, SIGINT);
  ::sigaddset(&spec.blocked_signals, SIGRTMAX);
  spec.soft_files = 64;
  // Above the child's limit.
  spec.fds = {{file.get(), 200}};
  Cat cat(form, spec);
  CHECK(cat.status("SigBlk") == "8000000000000002");
  CHECK(fds_of(cat.process.pid).count(200) == 1);
  std::istringstream limits(read_file("/proc/" + std::to_string(cat.process.pid) + "/limits"));
  std::string line;
  while (std::getline(limits, line) && !line.starts_with("Max open files")) {
  }
  std::istringstream words(line.substr(std::string("Max open files").size()));
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  words >> soft >> hard;
  CHECK(soft == 64);
  CHECK(hard == before.hard);
  CHECK(fd_limit().soft == before.soft);
  spec.soft_files = before.hard + 1;
  CHECK(thrown_by([&] { Cat(form, spec); }) == std::pair<int, std::string>(EINVAL, "setrlimit"));
}

TEST_IN_ALL_FORMS("start_process: an error names the failed step, and leaves no child and no fd") {
  TemporaryFolder folder;
  write_file(folder / "plain", "exit 5\n", 0755);
  write_file(folder / "closed", "exit 5\n", 0644);
  write_file(folder / "nobody", "#!/no/such/interpreter\n", 0755);
  const auto fds = fds_of(::getpid());
  struct Row {
    ProcessSpec spec;
    int error;
    std::string step;
    std::string subject;
  };
  ProcessSpec elsewhere = program("/bin/true");
  elsewhere.directory = folder / "missing";
  const Row rows[] = {
      {program(folder / "missing"), ENOENT, "execve", folder / "missing"},
      {program(folder / "closed"), EACCES, "execve", folder / "closed"},
      {program(folder / "nobody"), ENOENT, "execve",
       (folder / "nobody") + " (its interpreter /no/such/interpreter)"},
      {program(folder.path()), EACCES, "execve", folder.path()},
      {elsewhere, ENOENT, "chdir", folder / "missing"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.subject);
    try {
      start(form, row.spec);
      FAIL("started");
    } catch (const OsError& error) {
      CHECK(error.code().value() == row.error);
      CHECK(error.syscall() == row.step);
      CHECK(error.subject() == row.subject);
    }
  }
  CHECK(no_children());
  CHECK(fds_of(::getpid()) == fds);
}

TEST_IN_ALL_FORMS("start_process: the shell runs a script without #!, with its arguments") {
  TemporaryFolder folder;
  write_file(folder / "script", "echo \"$0 $1 $2\"\n", 0755);
  FdPair out = make_pipe();
  ProcessSpec spec = program(folder / "script");
  spec.args = {"other name", "one", "two words"};
  spec.fds = {{out.second.get(), 1}};
  const StartedProcess process = start(form, spec);
  out.second.reset();
  CHECK(read_all(out.first.get()) == (folder / "script") + " one two words\n");
  CHECK(wait_for(process).value == 0);
}

TEST_IN_ALL_FORMS("start_process: die_with_parent kills the child when the thread that started it ends") {
  ProcessSpec spec;
  spec.die_with_parent = true;
  SUBCASE("the thread ends") {
    std::unique_ptr<Cat> cat;
    FdPair gate = make_pipe();
    std::thread parent([&] {
      cat = std::make_unique<Cat>(form, spec);
      char byte;
      CHECK(::read(gate.first.get(), &byte, 1) == 0);
    });
    gate.second.reset();
    parent.join();
    wait_until_ended(cat->process.pidfd.get());
  }
  SUBCASE("the process is killed") {
    FdPair alive = make_pipe();
    const pid_t parent = ::fork();
    if (parent == 0) {
      ProcessSpec sleeper = program("/bin/sleep");
      sleeper.args = {"sleep", "1000"};
      sleeper.die_with_parent = true;
      sleeper.fds = {{alive.second.get(), 3}};
      try {
        start(form, sleeper);
      } catch (const OsError&) {
        ::_exit(1);
      }
      ::raise(SIGKILL);
    }
    alive.second.reset();
    // The parent and the sleeper have both ended.
    CHECK(read_all(alive.first.get()).empty());
    int status = 0;
    REQUIRE(::waitpid(parent, &status, 0) == parent);
    CHECK(WIFSIGNALED(status));
  }
}

TEST_IN_ALL_FORMS("start_process: many threads start processes while signals arrive, and leave nothing") {
  const auto fds = fds_of(::getpid());
  static std::atomic<int> handled = 0;
  const auto before = ::signal(SIGUSR1, [](int) { ++handled; });
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; i++) {
        ProcessSpec spec = program(i % 5 == 0 ? "/no/such/file" : "/bin/true");
        try {
          const StartedProcess process = start(form, spec);
          pollfd entry{process.pidfd.get(), POLLIN, 0};
          // A signal may interrupt it.
          while (::poll(&entry, 1, -1) < 0) {
          }
          ExitStatus status;
          if (try_wait(process.pidfd.get(), status) && !status.signaled && status.value == 0) ++right;
        } catch (const OsError& error) {
          if (error.code().value() == ENOENT) ++right;
        }
        ::kill(::getpid(), SIGUSR1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ::signal(SIGUSR1, before);
  CHECK(right == 100);
  CHECK(handled > 0);
  CHECK(no_children());
  CHECK(fds_of(::getpid()) == fds);
}

}  // namespace wireup::os
