// Controls the real wireup-agent as a launcher does: programs, ranks, signals, invalid messages.
#include <sys/resource.h>

#include <filesystem>
#include <map>

#include "os/message_socket.h"
#include "os/support.h"
#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

TEST_CASE("without a launcher it prints one line and exits") {
  os::FdPair err = os::make_pipe();
  os::ProcessSpec spec;
  spec.path = WIREUP_AGENT;
  spec.args = {"wireup-agent"};
  spec.fds = {{0, 0}, {1, 1}, {err.second.get(), 2}};
  sigemptyset(&spec.ignored_signals);
  const os::StartedProcess process = os::start_process(spec);
  err.second.reset();
  const auto lines = lines_of(read_all(err.first.get()));
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("wireup-agent: "));
  REQUIRE(wait_readable(process.pidfd.get()));
  os::ExitStatus status;
  REQUIRE(os::try_wait(process.pidfd.get(), status));
  CHECK(status.value == 2);
}

TEST_CASE("exit codes and signals of ranks are reported") {
  Driver agent;
  agent.hello();
  agent.shell("case $PMI_RANK in 0) exit 0;; 1) exit 77;; 2) kill -9 $$;; 3) kill -15 $$;; esac");
  std::map<std::uint32_t, msg::Exited> exits;
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    agent.start(rank);
    const auto exited = agent.expect<msg::Exited>();
    exits[exited.task] = exited;
  }
  REQUIRE(exits.size() == 4);
  CHECK_FALSE(exits[0].signaled);
  CHECK(exits[0].value == 0);
  CHECK_FALSE(exits[1].signaled);
  CHECK(exits[1].value == 77);
  CHECK(exits[2].signaled);
  CHECK(exits[2].value == SIGKILL);
  CHECK(exits[3].signaled);
  CHECK(exits[3].value == SIGTERM);
  agent.finish();
}

TEST_CASE("a job without ranks ends in good order") {
  Driver agent;
  agent.hello();
  agent.finish();
}

TEST_CASE("a program that arrives in parts runs with its directory, arguments and environment") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.send(msg::Program{4, "/usr", "", {}, {"sh"}, {}, false});
  agent.send(msg::Program{4,
                          "",
                          "",
                          {},
                          {"-c", "pwd; echo $1 $A $PMI_RANK; env | grep -c ^PMI_RANK="},
                          {"A=a", "PMI_RANK=77"},
                          false});
  agent.send(msg::Program{4, "", "", {}, {"name", "argument"}, {"PATH=/usr/bin:/bin"}, true});
  agent.start(9, 4);
  CHECK(agent.expect<msg::Exited>().value == 0);
  agent.finish();
  CHECK(read_all(out.first.get()) == "/usr\nargument a 9\n1\n");
}

TEST_CASE("a prefix is executed before the program") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.send(msg::Program{0, "", "", {"/bin/echo", "-n"}, {"true", "x"}, {"PATH=/usr/bin:/bin"}, true});
  agent.start(0);
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == "true x");
}

TEST_CASE("a missing program fails for every rank of a Start, also behind a prefix") {
  for (const bool with_prefix : {false, true}) {
    Driver agent;
    agent.hello();
    std::vector<std::string> prefix;
    if (with_prefix) prefix = {"/bin/echo"};
    agent.send(msg::Program{0, "", "", prefix, {"no-such-program"}, {"PATH=/usr/bin:/bin"}, true});
    for (int round = 0; round < 2; ++round) {
      agent.send(msg::Start{0, {{.rank = 0}, {.rank = 1}}});
      for (std::uint32_t rank = 0; rank < 2; ++rank) {
        const auto failed = agent.expect<msg::StartFailed>();
        CHECK(failed.task == rank);
        CHECK(failed.error == ENOENT);
        CHECK(failed.syscall == "execve");
        CHECK(failed.subject == "no-such-program");
      }
    }
    agent.finish();
  }
}

TEST_CASE("ranks are reported in the order of a Start, whether they could be started or not") {
  Driver agent;
  agent.hello();
  agent.program({"sleep", "1000"}, 0);
  agent.program({"no-such-program"}, 1);
  agent.program({"/etc/passwd"}, 2);
  msg::Start start;
  // Several turns of the agent's loop.
  for (std::uint32_t rank = 0; rank < 70; ++rank) start.ranks.push_back({.rank = rank, .program = rank % 3});
  agent.send(start);
  for (std::uint32_t rank = 0; rank < 70; ++rank) {
    CAPTURE(rank);
    if (rank % 3 == 0) {
      const auto started = agent.expect<msg::Started>();
      CHECK(started.task == rank);
      CHECK(exists(started.pid));
    } else {
      const auto failed = agent.expect<msg::StartFailed>();
      CHECK(failed.task == rank);
      CHECK(failed.error == (rank % 3 == 1 ? ENOENT : EACCES));
    }
  }
  agent.end();
  for (int rank = 0; rank < 70; rank += 3) agent.expect<msg::Exited>();
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("a file that cannot be executed and a missing directory are reported with the errno") {
  Driver agent;
  agent.hello();
  agent.program({"/etc/passwd"}, 0);
  agent.send(msg::Start{0, {{.rank = 0}}});
  CHECK(agent.expect<msg::StartFailed>().error == EACCES);
  agent.send(msg::Program{1, "/no/such/folder", "", {}, {"/bin/true"}, {}, true});
  agent.send(msg::Start{0, {{.rank = 0, .program = 1}}});
  const auto failed = agent.expect<msg::StartFailed>();
  CHECK(failed.error == ENOENT);
  CHECK(failed.syscall == "chdir");
  // The same rank can be started after that.
  agent.program({"true"}, 2);
  agent.start(0, 2);
  CHECK(agent.expect<msg::Exited>().value == 0);
  agent.finish();
}

TEST_CASE("a rank has its standard fds, the attached ones, and no others") {
  for (const bool labelled : {false, true}) {
    os::FdPair out = os::make_pipe();
    const os::UniqueFd stray(::open("/dev/null", O_RDONLY));
    os::FdPair attached = os::stream_pair();
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.readers = {0};
    agent.hello(labelled ? Driver::labelled() : msg::Hello{});
    agent.program({"sh", "-c", "echo $(ls /proc/self/fd); echo hello >&7"});
    agent.start(0, 0, {{attached.second.get(), 7}});
    attached.second.reset();
    CHECK(agent.expect<msg::Exited>().value == 0);
    // The stream ends, because the agent has closed its copy.
    CHECK(read_all(attached.first.get()) == "hello\n");
    agent.finish();
    // 3 is the folder that ls itself has open. 7 was attached, and 20 is PMI_FD.
    CHECK(read_all(out.first.get()) == (labelled ? "[0] 0 1 2 20 3 7\n" : "0 1 2 20 3 7\n"));
  }
}

TEST_CASE(
    "signals have their default action in ranks, except those that were ignored when the agent was started") {
  const auto ignored_in_rank = [](std::vector<int> ignored) {
    os::FdPair out = os::make_pipe();
    Driver agent({.out = out.second.get()}, std::move(ignored));
    out.second.reset();
    agent.hello();
    agent.program({"grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"});
    agent.start(0);
    agent.expect<msg::Exited>();
    agent.finish();
    return read_all(out.first.get());
  };
  CHECK(ignored_in_rank({}) == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  CHECK(ignored_in_rank({SIGHUP, SIGINT}) == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000003\n");
  // If SIGCHLD stayed ignored in the agent, the kernel would discard the exit status.
  CHECK(ignored_in_rank({SIGCHLD}) == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000010000\n");
}

TEST_CASE("a signal reaches the POSIX process groups of the listed ranks, and no others") {
  Driver agent;
  agent.hello();
  agent.program({"sleep", "1000"});
  const pid_t first = agent.start(0);
  const pid_t second = agent.start(1);
  const pid_t third = agent.start(2);
  for (const pid_t pid : {first, second, third}) {
    CHECK(::getpgid(pid) == pid);
    CHECK(::getsid(pid) == pid);
  }
  agent.send(msg::Signal{SIGUSR1, {1, 77}});
  const auto exited = agent.expect<msg::Exited>();
  CHECK(exited.task == 1);
  CHECK(exited.signaled);
  CHECK(exited.value == SIGUSR1);
  CHECK_FALSE(exists(second));
  CHECK(exists(first));
  CHECK(exists(third));
  agent.send(msg::Signal{SIGUSR2, {}});
  CHECK(agent.expect<msg::Exited>().value == SIGUSR2);
  CHECK(agent.expect<msg::Exited>().value == SIGUSR2);
  agent.send(msg::Signal{SIGUSR2, {}});
  agent.finish();
}

// Lowers the limit of open files of the process, so that it can open `room` more.
void limit_files(pid_t pid, rlim_t room) {
  rlim_t first_free = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    first_free = std::max<rlim_t>(first_free, std::stoul(entry.path().filename()) + 1);
  }
  const rlimit limit{first_free + room, first_free + room};
  REQUIRE(::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0);
}

TEST_CASE("ranks for which the agent has too few open files are reported, and the others run") {
  // 10: too few for a message with 20 fds. 25: enough for it, but not for the pipes and pidfds of all ranks.
  for (const rlim_t room : {10, 25}) {
    CAPTURE(room);
    os::FdPair err = os::make_pipe();
    Driver agent({.err = err.second.get()});
    err.second.reset();
    agent.hello(Driver::labelled());
    agent.program({"sleep", "1000"});
    agent.start(100);
    limit_files(agent.agent_pid(), room);
    const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    msg::Start spawn;
    for (std::uint32_t rank = 0; rank < 20; ++rank) spawn.ranks.push_back({.rank = rank, .fds = {7}});
    agent.send(spawn, std::vector<int>(20, null.get()));
    std::size_t started = 0;
    for (std::size_t i = 0; i < 20;) {
      const auto answer = agent.receive();
      REQUIRE(answer.has_value());
      if (std::holds_alternative<msg::Events>(*answer)) continue;
      ++i;
      if (std::holds_alternative<msg::Started>(*answer)) {
        ++started;
      } else {
        REQUIRE(std::holds_alternative<msg::StartFailed>(*answer));
        CHECK(std::get<msg::StartFailed>(*answer).error == EMFILE);
      }
    }
    CHECK((started > 0) == (room > 20));
    CHECK(started < 20);
    if (room < 20) {
      agent.start(101);
      ++started;
    }
    agent.end();
    for (std::size_t i = 0; i < started + 1; ++i) agent.expect<msg::Exited>();
    agent.expect<msg::Done>();
    CHECK(agent.wait().value == 0);
    CHECK(read_all(err.first.get()).empty());
  }
}

TEST_CASE("ranks above the limit of processes are reported, and others can be started when some have ended") {
  if (!os::test::is_root()) {
    // The limit counts all processes of a user and does not apply to root, so a user without processes is
    // needed.
    MESSAGE("skipped: needs root");
    return;
  }
  const os::test::TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  const std::string copy = folder / "wireup-agent";
  std::filesystem::copy_file(WIREUP_AGENT, copy);
  os::FdPair pair = os::seqpacket_pair();
  os::ProcessSpec spec = Driver::agent({}, pair.second.get());
  spec.path = "/usr/bin/setpriv";
  // The guard, the agent and two ranks. The thread sanitizer has one more thread in the guard, but not in
  // forked processes.
#if defined(__SANITIZE_THREAD__)
  const std::string limit = "--nproc=5:5";
#else
  const std::string limit = "--nproc=4:4";
#endif
  spec.args = {"setpriv", "--reuid=64987", "--clear-groups", "prlimit", limit, copy};
  Driver agent(std::move(pair.first), os::start_process(spec));
  pair.second.reset();
  agent.hello();
  agent.program({"sleep", "1000"});
  agent.send(msg::Start{0, {{.rank = 0}, {.rank = 1}, {.rank = 2}, {.rank = 3}}});
  agent.expect<msg::Started>();
  agent.expect<msg::Started>();
  for (int i = 0; i < 2; ++i) {
    const auto failed = agent.expect<msg::StartFailed>();
    CHECK(failed.error == EAGAIN);
    CHECK(failed.syscall == "clone");
  }
  agent.send(msg::Signal{SIGKILL, {0}});
  CHECK(agent.expect<msg::Exited>().task == 0);
  agent.start(4);
  agent.end();
  agent.expect<msg::Exited>();
  agent.expect<msg::Exited>();
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("a message that is too long is reported and ends the job") {
  os::FdPair err = os::make_pipe();
  Driver agent({.err = err.second.get()});
  err.second.reset();
  agent.hello();
  agent.program({"sleep", "1000"});
  const pid_t rank = agent.start(0);
  agent.send_bytes(std::string(os::kMaxMessage + 1, 'x'));
  CHECK(agent.wait().value == 1);
  CHECK_FALSE(exists(rank));
  const auto lines = lines_of(read_all(err.first.get()));
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("the peer sent an invalid message") != std::string::npos);
}

TEST_CASE("the terminal's signals do not end the agent") {
  Driver agent;
  agent.hello();
  for (const int number : {SIGINT, SIGQUIT, SIGTSTP, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTTIN,
                           SIGTTOU, SIGPIPE, SIGWINCH}) {
    ::kill(agent.pid(), number);
    ::kill(agent.agent_pid(), number);
  }
  agent.finish();
}

TEST_CASE("a job can end before its hosts are known") {
  Driver agent;
  agent.send(msg::End{0});
  CHECK(agent.wait().value == 0);
}

TEST_CASE("an invalid message of the launcher ends the job with one line") {
  const auto run = [](const std::function<void(Driver&)>& speak, const std::string& word) {
    CAPTURE(word);
    os::FdPair err = os::make_pipe();
    Driver agent({.err = err.second.get()});
    err.second.reset();
    speak(agent);
    CHECK(agent.wait().value == 1);
    const auto lines = lines_of(read_all(err.first.get()));
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find(word) != std::string::npos);
  };
  const auto after_hello = [](auto message) {
    return [message](Driver& agent) {
      agent.hello();
      agent.program({"sleep", "1000"}, 1);
      agent.start(5, 1);
      agent.send(message);
    };
  };
  run([](Driver& agent) { agent.send_bytes("garbage"); }, "invalid message");
  run([](Driver& agent) { agent.send_packet("garbage"); }, "cannot be read");
  run([](Driver& agent) { agent.send(msg::Status{"line"}); }, "before hello");
  run(
      [](Driver& agent) {
        agent.send(msg::Hello{.version = 99});
        CHECK(agent.expect<msg::Ready>().version == msg::kProtocolVersion);
      },
      "version");
  run(
      [](Driver& agent) {
        agent.hello();
        agent.send_packet(msg::encode(1, msg::End{0}));
      },
      "for an unknown host");
  run(after_hello(msg::Hello{}), "second hello");
  run(after_hello(msg::Done{}), "not for an agent");
  run(after_hello(msg::Release{}), "unknown process group");
  run(after_hello(msg::StartHost{.host = 0, .command = {"true"}}), "a host that exists");
  run(after_hello(msg::StartHost{.host = 1}), "without a command");
  run(after_hello(msg::Input{"x"}), "without a reader");
  run(after_hello(Driver::group()), "process group that exists");
  run(after_hello(msg::Start{7, {{.rank = 0, .program = 1}}}), "unknown process group");
  run(after_hello(msg::Start{0, {{.rank = 256, .program = 1}}}), "not on this host");
  run(after_hello(msg::Start{0, {{.rank = 0, .program = 9}}}), "unknown program");
  run(after_hello(msg::Start{0, {{.rank = 0, .program = 1, .fds = {7}}}}), "fds");
  run(after_hello(msg::Start{0, {{.rank = 5, .program = 1}}}), "that runs");
  run(after_hello(msg::Start{0, {{.rank = 0, .program = 1}, {.rank = 0, .program = 1}}}), "that runs");
  run(after_hello(msg::Start{0, {{.rank = 0, .program = 1, .reads_stdin = true}}}), "was not announced");
  run(after_hello(msg::Program{.id = 1, .args = {"x"}}), "does not fit");
  run(after_hello(msg::Program{.id = 2}), "does not fit");
  run(after_hello(msg::PassFds{{3}}), "fds");
  run(after_hello(msg::AdoptRank{}), "fd of the rank");
  run(after_hello(msg::AdoptRank{.group = 7}), "unknown process group");
  run(after_hello(msg::Depart{0, {256}}), "does not exist");
  run(after_hello(msg::NameAnswer{.error = 99}), "unknown error");
}

TEST_CASE("a group whose ranks are to be started cannot be forgotten") {
  os::FdPair err = os::make_pipe();
  Driver agent({.err = err.second.get()});
  err.second.reset();
  agent.hello();
  agent.program({"true"});
  // Both messages are read in one turn of the agent's loop, because it is stopped meanwhile.
  ::kill(agent.agent_pid(), SIGSTOP);
  REQUIRE(eventually([&] { return state_of(agent.agent_pid()) == 'T'; }));
  agent.send(msg::Start{0, {{.rank = 0}}});
  agent.send(msg::ForgetGroup{0});
  ::kill(agent.agent_pid(), SIGCONT);
  CHECK(agent.wait().value == 1);
  CHECK(read_all(err.first.get()).find("ranks are to be started") != std::string::npos);
}

TEST_CASE("fds of the caller reach every rank under their numbers, and invalid numbers are refused") {
  enum class Then { run, start_with_fd_5, start_with_channel, nothing };
  // The last message ends the agent.
  const auto said = [](std::vector<std::int32_t> numbers, Then then) {
    os::FdPair out = os::make_pipe();
    os::FdPair passed = os::make_pipe();
    {
      Driver agent({.out = out.second.get(), .err = out.second.get()});
      agent.hello();
      agent.shell("for fd in 3 63; do echo rank $PMI_RANK >/proc/self/fd/$fd; done");
      const std::vector<int> ours(numbers.size(), passed.second.get());
      agent.send(msg::PassFds{std::move(numbers)}, ours);
      if (then == Then::run) {
        for (std::uint32_t rank = 0; rank < 2; ++rank) {
          agent.start(rank);
          agent.expect<msg::Exited>();
        }
        agent.finish();
      } else {
        if (then == Then::start_with_fd_5)
          agent.send(msg::Start{0, {{.rank = 0, .fds = {5}}}}, {passed.first.get()});
        if (then == Then::start_with_channel) agent.send(msg::Start{0, {{.rank = 0}}});
        CHECK(agent.wait().value == 1);
      }
    }
    passed.second.reset();
    out.second.reset();
    return read_all(passed.first.get()) + read_all(out.first.get());
  };
  CHECK(said({3, 63}, Then::run) == "rank 0\nrank 0\nrank 1\nrank 1\n");
  for (const std::vector<std::int32_t>& numbers : {std::vector<std::int32_t>{2}, {3, 3}, {-1}}) {
    CHECK(said(numbers, Then::nothing).find("has a bad fd number") != std::string::npos);
  }
  CHECK(said({3, 5}, Then::start_with_fd_5).find("has a bad fd number") != std::string::npos);
  CHECK(said({3, 20}, Then::start_with_channel).find("has a bad fd number") != std::string::npos);
}

TEST_CASE("a program is forgotten when its last rank has been started, and its number can be used again") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  for (const std::uint32_t rank : {0, 1}) {
    agent.program({"sh", "-c", "echo $PMI_RANK"}, 3);
    agent.send(msg::Start{0, {{.rank = rank, .program = 3}}});
    agent.send(msg::ForgetProgram{3});
    agent.send(msg::ForgetProgram{4});  // unknown
    agent.expect<msg::Started>();
    agent.expect<msg::Exited>();
  }
  agent.finish();
  CHECK(read_all(out.first.get()) == "0\n1\n");
}

}  // namespace
