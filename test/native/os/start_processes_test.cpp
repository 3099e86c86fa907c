#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "os/assembly.h"
#include "os/fd.h"
#include "os/start_process.h"
#include "os/start_process_support.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

// No cgroup, but a folder with a FIFO in the place of cgroup.procs: a child that joins it waits before its
// execve(2), until open() is called.
struct ClosedGroup {
  ClosedGroup() : folder(::open(temporary.path().c_str(), O_PATH | O_CLOEXEC)) {
    REQUIRE(::mkfifoat(folder.get(), "cgroup.procs", 0600) == 0);
  }
  void open() {
    reader.reset(::openat(folder.get(), "cgroup.procs", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(reader);
  }
  TemporaryFolder temporary;
  UniqueFd folder;
  UniqueFd reader = {};
};

// The fields of /proc/PID/stat from the third on: state, parent, POSIX process group, session.
std::vector<std::string> stat_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream words(line.substr(line.rfind(')') + 1));
  return {std::istream_iterator<std::string>(words), {}};
}

void wait_until(const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + kTimeout;
  while (!done()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(1ms);
  }
}

// Waits until this process has a child that leads a session, and returns its pid.
pid_t wait_for_session_leader() {
  pid_t leader = -1;
  wait_until([&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const auto stat = stat_of(name);
      if (stat.size() > 3 && stat[1] == std::to_string(::getpid()) && stat[3] == name)
        leader = std::stoi(name);
    }
    return leader > 0;
  });
  return leader;
}

void wait_for_state(pid_t pid, const std::string& state) {
  wait_until([&] {
    const auto stat = stat_of(std::to_string(pid));
    return !stat.empty() && stat[0] == state;
  });
}

// From now on the process gets `error` for calls that match `filter`, which ends with the two ways out:
// allowed, and refused.
bool refuse_calls(std::initializer_list<sock_filter> filter, int error) {
  std::vector<sock_filter> whole(filter);
  whole.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  whole.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)));
  const sock_fprog program{static_cast<unsigned short>(whole.size()), whole.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

constexpr sock_filter kNumber = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));

// From now on clone(2) fails with EINVAL in this process, except as vfork(2).
bool allow_only_vfork() {
  return refuse_calls({kNumber, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 2),
                       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
                       BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_VFORK, 0, 1)},
                      EINVAL);
}

bool refuse_clone3() {
  return refuse_calls({kNumber, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSysClone3, 1, 0)}, ENOSYS);
}

bool refuse_to_open_for_writing() {
  return refuse_calls({kNumber, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
                       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
                       BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY, 1, 0)},
                      EPERM);
}

// In a child of this process, whose exit code it returns.
int exit_code_of(const std::function<int()>& function) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(function());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

// A cgroup (version 2) below this process's own. `folder` is empty if none can be made.
class TestCgroup {
 public:
  TestCgroup() {
    std::ifstream groups("/proc/self/cgroup");
    std::string own;
    while (std::getline(groups, own) && !own.starts_with("0::")) {
    }
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; !own.empty() && std::getline(mounts, line);) {
      if (line.find(" - cgroup2 ") == std::string::npos) continue;
      std::istringstream words(line);
      const std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
      if (fields[3] != "/") continue;
      path_ = fields[4] + own.substr(3) + "/" + name;
      if (::mkdir(path_.c_str(), 0755) == 0) folder.reset(::open(path_.c_str(), O_PATH | O_CLOEXEC));
      return;
    }
  }
  ~TestCgroup() {
    if (folder) CHECK(::rmdir(path_.c_str()) == 0);
  }
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;

  std::string name = "wireup-test-" + std::to_string(::getpid());
  UniqueFd folder;

 private:
  std::string path_;
};

}  // namespace

TEST_IN_ALL_FORMS("start_process: a child that waits before its execve(2)") {
  ClosedGroup group;
  ProcessSpec spec = program("/bin/true");
  spec.cgroup = group.folder.get();
  spec.new_session = true;
  std::atomic<bool> started = false;
  StartedProcess process;
  std::thread starter([&] {
    process = start(form, spec);
    started = true;
  });
  const pid_t child = wait_for_session_leader();
  ExitStatus status;
  SUBCASE("is killed, and counts as started") {
    CHECK(::kill(child, SIGKILL) == 0);
    starter.join();
    status = wait_for(process);
    CHECK(status.signaled);
    CHECK(status.value == SIGKILL);
  }
  SUBCASE("is stopped, and holds the caller until it continues") {
    CHECK(::kill(child, SIGSTOP) == 0);
    wait_for_state(child, "T");
    group.open();
    CHECK_FALSE(started);
    CHECK(::kill(child, SIGCONT) == 0);
    starter.join();
    status = wait_for(process);
    CHECK_FALSE(status.signaled);
    CHECK(status.value == 0);
  }
  CHECK(process.pid == child);
}

TEST_CASE("start_processes: results are in the order of the specs") {
  const auto fds = fds_of(::getpid());
  for (const StartMode mode : {StartMode::concurrent, StartMode::one_by_one}) {
    std::vector<ProcessSpec> specs;
    for (int i = 0; i < 50; i++) {
      specs.push_back(program(i % 5 == 1 ? "/no/such/file" : "/bin/sh"));
      specs.back().args = {"sh", "-c", "exit " + std::to_string(i)};
      if (i % 5 == 2) specs.back().fds = {{-1, 3}};
      if (i % 5 == 3) specs.back().fds = {{987, 3}};
    }
    auto results = start_processes(specs, mode);
    REQUIRE(results.size() == specs.size());
    for (int i = 0; i < 50; i++) {
      CAPTURE(i);
      StartResult& result = results[static_cast<std::size_t>(i)];
      if (i % 5 == 1) {
        CHECK(thrown_by([&] { value_of(result); }) == std::pair<int, std::string>(ENOENT, "execve"));
      } else if (i % 5 == 2 || i % 5 == 3) {
        CHECK(thrown_by([&] { value_of(result); }) == std::pair<int, std::string>(EBADF, "dup2"));
      } else {
        CHECK(wait_for(value_of(result)).value == i);
      }
    }
  }
  CHECK(start_processes({}).empty());
  CHECK(no_children());
  CHECK(fds_of(::getpid()) == fds);
}

TEST_CASE("start_processes: a child that waits before its execve(2) does not hold the next one" *
          doctest::skip(!kHasAssembly || runs_on_valgrind())) {
  ClosedGroup group;
  FdPair out = make_pipe();
  std::vector<ProcessSpec> specs{program("/bin/true"), program("/bin/echo")};
  specs[0].cgroup = group.folder.get();
  specs[1].fds = {{out.second.get(), 1}};
  std::vector<StartResult> results;
  std::thread starter([&] { results = start_processes(specs); });
  pollfd entry{out.first.get(), POLLIN, 0};
  CHECK(::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kTimeout).count())) == 1);
  group.open();
  starter.join();
  for (StartResult& result : results) CHECK(wait_for(value_of(result)).value == 0);
}

TEST_CASE("start_processes: where clone(2) works only as vfork(2)") {
  const auto all_start = [] {
    if (!allow_only_vfork()) return 1;
    const std::vector<ProcessSpec> specs(40, program("/bin/true"));
    const auto results = start_processes(specs);
    const bool started = std::ranges::all_of(
        results, [](const StartResult& result) { return std::holds_alternative<StartedProcess>(result); });
    return started ? 0 : 2;
  };
  CHECK(exit_code_of(all_start) == 0);
}

TEST_CASE("start_processes: children are started in a cgroup") {
  const TestCgroup cgroup;
  if (!cgroup.folder) {
    MESSAGE("no cgroup can be made here");
    return;
  }
  ProcessSpec spec = program("/bin/sh");
  spec.args = {"sh", "-c", "exec grep -q /" + cgroup.name + "$ /proc/self/cgroup"};
  spec.environment = {"PATH=/usr/bin:/bin"};
  spec.cgroup = cgroup.folder.get();
  const auto start = [&](StartMode mode) {
    const std::vector<ProcessSpec> specs(3, spec);
    int exit_code = 0;
    for (StartResult& result : start_processes(specs, mode)) {
      exit_code = std::max(exit_code, wait_for(value_of(result)).value);
    }
    return exit_code;
  };
  for (const StartMode mode : {StartMode::concurrent, StartMode::one_by_one}) {
    CAPTURE(static_cast<int>(mode));
    CHECK(start(mode) == 0);
    // A child would have to open cgroup.procs to move into the cgroup.
    if (kHasAssembly && !runs_on_valgrind()) {
      CHECK(exit_code_of([&] { return refuse_to_open_for_writing() ? start(mode) : 100; }) == 0);
    }
    CHECK(exit_code_of([&] { return refuse_clone3() ? start(mode) : 100; }) == 0);
  }
}

}  // namespace wireup::os
