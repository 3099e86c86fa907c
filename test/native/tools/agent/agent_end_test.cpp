// How wireup-agent ends a job, and that no process is left if the agent, its guard or its launcher dies.
#include <filesystem>

#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

TEST_CASE("End: Exited distinguishes ranks that exited before from ranks that were ended") {
  os::FdPair go = os::make_pipe();
  Driver agent;
  agent.hello();
  agent.program({"sleep", "1000"}, 0);
  agent.shell("read x <&5; exit 3", 1);
  agent.start(0);
  const pid_t failing = agent.start(1, 1, {{go.first.get(), 5}});
  // A stopped agent does not notice the exit before it reads End.
  ::kill(agent.agent_pid(), SIGSTOP);
  REQUIRE(eventually([&] { return state_of(agent.agent_pid()) == 'T'; }));
  go.second.reset();
  REQUIRE(eventually([&] { return state_of(failing) == 'Z'; }));
  agent.end(10'000);
  ::kill(agent.agent_pid(), SIGCONT);
  const auto first = agent.expect<msg::Exited>();
  CHECK(first.task == 1);
  CHECK_FALSE(first.ended);
  const auto second = agent.expect<msg::Exited>();
  CHECK(second.task == 0);
  CHECK(second.value == SIGTERM);
  CHECK(second.ended);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("End: running and stopped ranks get TERM, and KILL after the grace") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.program({"sleep", "1000"}, 0);
  agent.shell("trap '' TERM; echo ready; while :; do sleep 1000; done", 1);
  const pid_t stopped = agent.start(0);
  agent.start(1, 1);
  CHECK(read_line(out.first.get()) == "ready");
  ::kill(stopped, SIGSTOP);
  REQUIRE(eventually([&] { return state_of(stopped) == 'T'; }));
  agent.end(300);
  const auto first = agent.expect<msg::Exited>();
  CHECK(first.task == 0);
  CHECK(first.value == SIGTERM);
  const auto second = agent.expect<msg::Exited>();
  CHECK(second.task == 1);
  CHECK(second.value == SIGKILL);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("End: a second one can shorten the grace, and no rank is started after the first") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
  agent.start(0);
  CHECK(read_line(out.first.get()) == "ready");
  agent.end(3'600'000);
  agent.send(msg::Start{0, {{.rank = 1}}});
  CHECK(agent.expect<msg::StartFailed>().error == ECANCELED);
  agent.end(0);
  CHECK(agent.expect<msg::Exited>().value == SIGKILL);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

// A rank that leaves processes behind: in its POSIX process group, in sessions of their own, and orphans of
// orphans.
constexpr char kLitter[] =
    "sleep 1000 & echo $!; setsid sleep 1000 & echo $!;"
    "setsid sh -c 'sleep 1000 & echo $!; sleep 1000 & echo $!; exec sleep 1000' & echo $!;";

std::vector<pid_t> read_pids(int fd, std::size_t count) {
  std::vector<pid_t> pids;
  while (pids.size() < count) pids.push_back(std::stoi(read_line(fd)));
  return pids;
}

TEST_CASE("processes that ranks leave behind are ended before Done") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell(kLitter);
  agent.start(0);
  agent.expect<msg::Exited>();
  const auto pids = read_pids(out.first.get(), 5);
  for (const pid_t pid : pids) CHECK(exists(pid));
  agent.end(10'000);
  agent.expect<msg::Done>();
  for (const pid_t pid : pids) CHECK_FALSE(exists(pid));
  CHECK(agent.wait().value == 0);
}

TEST_CASE("if the launcher closes its socket, every process ends within two seconds") {
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    os::FdPair out = os::make_pipe();
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.hello();
    agent.shell(std::string(kLitter) + "trap '' TERM HUP; echo $$; while :; do sleep 1000; done");
    agent.start(0);
    const auto pids = read_pids(out.first.get(), 6);
    const auto start = std::chrono::steady_clock::now();
    if (killed) {
      // End is under way, with a long grace.
      agent.end(3'600'000);
    }
    agent.hang_up();
    CHECK(agent.wait(2000).value == 1);
    for (const pid_t pid : pids) CHECK_FALSE(exists(pid));
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
    CHECK(read_all(out.first.get()).empty());
  }
}

// The name of the job's cgroup as a rank sees it; empty if none could be made.
std::string cgroup_of_job(Driver& agent, int out) {
  agent.shell("grep ^0:: /proc/self/cgroup", 9);
  agent.start(9, 9);
  agent.expect<msg::Exited>();
  const std::string line = read_line(out);
  return line.find("/wireup-") == std::string::npos ? std::string() : line.substr(line.rfind('/') + 1);
}

// Other jobs on this machine remove theirs meanwhile, which ends a recursive_directory_iterator.
void find_cgroups(const std::filesystem::path& folder, const std::string& name,
                  std::vector<std::string>& found) {
  std::error_code none;
  // A range-based loop would throw.
  for (std::filesystem::directory_iterator next(folder, none), end; next != end; next.increment(none)) {
    const std::filesystem::path path = next->path();
    if (!next->is_directory(none) || next->is_symlink(none)) continue;
    if (path.filename() == name) found.push_back(path);
    find_cgroups(path, name, found);
  }
}

// Where version 2 is mounted, alone or beside version 1.
std::vector<std::string> cgroups_named(const std::string& name) {
  std::vector<std::string> found;
  find_cgroups("/sys/fs/cgroup", name, found);
  return found;
}

TEST_CASE("a job with a cgroup is ended at once, even if it forks faster than the agent can search") {
  for (const bool hang_up : {false, true}) {
    CAPTURE(hang_up);
    os::FdPair out = os::make_pipe();
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.hello();
    const std::string cgroup = cgroup_of_job(agent, out.first.get());
    if (cgroup.empty()) {
      MESSAGE("no cgroup can be made here");
      return;
    }
    CHECK(cgroups_named(cgroup).size() == 1);
    // Each process starts the next one in a session of its own, and ends.
    agent.shell("export s='setsid sh -c \"$s\" & exit 0'; echo; sh -c \"$s\"");
    agent.start(0);
    agent.expect<msg::Exited>();
    CHECK(read_line(out.first.get()).empty());
    if (hang_up) {
      agent.hang_up();
      agent.wait();
    } else {
      agent.finish();
    }
    // Each process held the pipe open.
    CHECK(read_all(out.first.get()).empty());
    CHECK(cgroups_named(cgroup).empty());
  }
}

TEST_CASE("cgroups of killed agents are removed with their processes, those of running agents are not") {
  os::FdPair out = os::make_pipe();
  Driver living({.out = out.second.get()});
  living.hello();
  const std::string name = cgroup_of_job(living, out.first.get());
  if (name.empty()) {
    MESSAGE("no cgroup can be made here");
    return;
  }
  const std::filesystem::path cgroup = cgroups_named(name).at(0);
  living.program({"sleep", "1000"});
  const pid_t rank = living.start(0);

  // The cgroup of a process that was killed before it became a guard.
  const std::filesystem::path empty = cgroup.parent_path() / "wireup-job-1";
  std::filesystem::create_directory(empty);
  // The cgroup of an agent and a guard that were killed at once. A child of their rank still runs.
  pid_t orphan = 0;
  std::filesystem::path full;
  {
    os::FdPair said = os::make_pipe();
    Driver killed({.out = said.second.get()});
    said.second.reset();
    killed.hello();
    full = cgroup.parent_path() / cgroup_of_job(killed, said.first.get());
    killed.shell("sleep 1000 & echo $!; wait");
    killed.start(0);
    orphan = std::stoi(read_line(said.first.get()));
    // A stopped process does not notice the end of the other.
    for (const pid_t pid : {killed.pid(), killed.agent_pid()}) ::kill(pid, SIGSTOP);
    for (const pid_t pid : {killed.agent_pid(), killed.pid()}) ::kill(pid, SIGKILL);
    killed.wait();
  }
  REQUIRE(exists(orphan));
  REQUIRE(std::filesystem::exists(full));

  Driver next;
  next.hello();
  CHECK(eventually([&] { return !exists(orphan) || state_of(orphan) == 'Z'; }));
  CHECK_FALSE(std::filesystem::exists(empty));
  CHECK(exists(rank));
  CHECK(std::filesystem::exists(cgroup));
  next.finish();
  // If its processes had not ended in time, a later agent removes the cgroup.
  CHECK(eventually([&] {
    Driver later;
    later.hello();
    later.finish();
    return !std::filesystem::exists(full);
  }));
  living.end();
  living.expect<msg::Exited>();
  living.expect<msg::Done>();
  CHECK(living.wait().value == 0);
}

// Starts a job that leaves processes behind, sends the signal to the guard or to the agent, and checks that
// all processes end. Returns the status of the guard.
os::ExitStatus after_signal(int number, bool to_guard) {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell(std::string(kLitter) + "trap '' TERM HUP; echo $$; while :; do sleep 1000; done");
  agent.start(0);
  auto pids = read_pids(out.first.get(), 6);
  pids.push_back(agent.agent_pid());
  ::kill(to_guard ? agent.pid() : agent.agent_pid(), number);
  // The socket ends with the agent.
  agent.expect_end();
  const os::ExitStatus status = agent.wait();
  for (const pid_t pid : pids) CHECK(eventually([pid] { return !exists(pid) || state_of(pid) == 'Z'; }));
  return status;
}

TEST_CASE("if the agent is killed, its guard kills the remaining processes, and ends in the same way") {
  const os::ExitStatus status = after_signal(SIGKILL, false);
  CHECK(status.signaled);
  CHECK(status.value == SIGKILL);
}

TEST_CASE("an agent that stays stopped is killed, and every process ends") {
  const os::ExitStatus status = after_signal(SIGSTOP, false);
  CHECK_FALSE(status.signaled);
  CHECK(status.value == msg::kExitStopped);
}

TEST_CASE("if the guard is killed, the agent ends the job") { CHECK(after_signal(SIGKILL, true).signaled); }

TEST_CASE("if the guard is killed, a stopped agent is continued and ends the job") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell(std::string(kLitter) + "exec sleep 1000");
  agent.start(0);
  const auto pids = read_pids(out.first.get(), 5);
  ::kill(agent.pid(), SIGSTOP);
  ::kill(agent.agent_pid(), SIGSTOP);
  REQUIRE(eventually([&] { return state_of(agent.agent_pid()) == 'T'; }));
  ::kill(agent.pid(), SIGKILL);
  agent.expect_end();
  for (const pid_t pid : pids) CHECK(eventually([pid] { return !exists(pid) || state_of(pid) == 'Z'; }));
}

TEST_CASE("an agent that was stopped for a moment continues") {
  Driver agent;
  agent.hello();
  agent.program({"sleep", "1000"});
  agent.start(0);
  ::kill(agent.agent_pid(), SIGSTOP);
  REQUIRE(eventually([&] { return state_of(agent.agent_pid()) == 'T'; }));
  ::kill(agent.agent_pid(), SIGCONT);
  agent.send(msg::Signal{SIGUSR1, {}});
  CHECK(agent.expect<msg::Exited>().value == SIGUSR1);
  agent.finish();
}

TEST_CASE("orphans are reaped while the job runs, and no status of a rank is lost") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell("(sh -c 'echo $$; read x <&5' &) ; read x <&6; exit 5");
  os::FdPair orphan = os::make_pipe();
  os::FdPair rank = os::make_pipe();
  agent.start(0, 0, {{orphan.first.get(), 5}, {rank.first.get(), 6}});
  const pid_t pid = read_pids(out.first.get(), 1)[0];
  CHECK(exists(pid));
  orphan.second.reset();
  CHECK(eventually([pid] { return !exists(pid); }));
  CHECK(agent.silent());
  rank.second.reset();
  CHECK(agent.expect<msg::Exited>().value == 5);
  agent.finish();
}

}  // namespace
