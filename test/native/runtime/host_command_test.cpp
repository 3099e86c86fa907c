#include "runtime/host_command.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/faults.h"
#include "runtime/link_support.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace {

constexpr std::chrono::milliseconds kSoon{100};
constexpr std::chrono::hours kOneHour{1};

struct HostEnd final : HostCommandObserver {
  void on_host_up() override {
    CHECK_FALSE(end.has_value());
    ++ups;
    if (at_up) at_up();
  }
  void on_host_packet(std::string_view packet) override {
    CHECK_FALSE(end.has_value());
    packets.emplace_back(packet);
    if (at_packet) at_packet();
  }
  void on_host_line(const std::string& line) override {
    CHECK_FALSE(end.has_value());
    lines.push_back(line);
    if (at_line) at_line();
  }
  void on_host_end(const std::string& message) override {
    CHECK_FALSE(end.has_value());
    end = message;
    if (at_end) at_end();
  }
  int ups = 0;
  std::vector<std::string> packets;
  std::vector<std::string> lines;
  std::optional<std::string> end;
  std::function<void()> at_up;
  std::function<void()> at_packet;
  std::function<void()> at_line;
  std::function<void()> at_end;
};

// Shell code of an agent that answers.
std::string greet(const std::string& before = "") {
  return before + "printf '\\nwireup-agent " + std::to_string(wire::agent::kProtocolVersion) +
         " 0.1.0\\n'; read -r reply; ";
}

HostCommandSpec script_of(std::string script) {
  std::signal(SIGPIPE, SIG_IGN);
  HostCommandSpec spec;
  spec.host = "n3";
  spec.command = {"sh", "-c", std::move(script)};
  return spec;
}

StartedHostCommand start(HostCommandSpec spec) {
  return std::move(start_host_commands({std::move(spec)}).front());
}

struct HostRun {
  explicit HostRun(HostCommandSpec spec, HostCommandTiming timing = {}) {
    command = std::make_unique<HostCommand>(reactor, reaper, start(std::move(spec)), observer, timing);
  }
  explicit HostRun(std::string script, HostCommandTiming timing = {})
      : HostRun(script_of(std::move(script)), timing) {}

  void run_to_end() {
    run_until(reactor, [&] { return observer.end.has_value(); });
  }
  void run_to_up() {
    run_until(reactor, [&] { return observer.ups > 0; });
  }
  // Runs until the command is reaped.
  void run_to_idle() {
    run_until(reactor, [&] { return reaper.idle(); });
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
    CHECK(errno == ECHILD);
  }

  os::Reactor reactor;
  Reaper reaper{reactor};
  HostEnd observer;
  std::unique_ptr<HostCommand> command;
};

}  // namespace

TEST_CASE("host command: its stdin and stdout are the link, and its stderr is reported by lines") {
  HostRun run(greet("echo Welcome; echo 'Warning: new host' >&2; ") + "echo started >&2; exec cat");
  run.command->send("early");
  run.run_to_up();
  CHECK(run.command->up());
  run.command->send(std::string(300'000, 'x'));
  run_until(run.reactor, [&] { return run.observer.packets.size() == 2 && run.observer.lines.size() == 2; });
  CHECK(run.observer.packets[0] == "early");
  CHECK(bool(run.observer.packets[1] == std::string(300'000, 'x')));
  CHECK(run.observer.lines == std::vector<std::string>{"Warning: new host", "started"});
  CHECK(run.observer.ups == 1);
  CHECK(run.command->unsent() == 0);
  CHECK_FALSE(run.observer.end.has_value());
  run.command.reset();
  run.run_to_idle();
}

TEST_CASE("host command: reports how it has ended") {
  const std::string version = std::to_string(wire::agent::kProtocolVersion);
  const struct {
    const char* name;
    std::string script;
    std::string message;
  } cases[] = {
      {"an exit code with a reason", "echo 'n3: Permission denied (publickey).' >&2; exit 255",
       "sh n3 ended with code 255: n3: Permission denied (publickey)."},
      {"an exit code without a reason", "exit 0", "sh n3 ended with code 0"},
      {"a reason on stdout", "echo 'This account is currently not available.'; exit 1",
       "sh n3 ended with code 1: This account is currently not available."},
      {"the last lines of many", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i >&2; done; exit 2",
       "sh n3 ended with code 2: line 2; line 3; line 4; line 5; line 6; line 7; line 8; line 9"},
      {"a signal", "kill -9 $$", "sh n3 was killed by signal 9 (Killed)"},
      {"a shell without the program", "exec /no/agent link 2>/dev/null", "sh n3 ended with code 127"},
      {"another version", "echo wireup-agent 1000 9.0.0; read -r reply; exec sleep 1000",
       "another version of wireup: " WIREUP_VERSION " here (protocol " + version +
           "), 9.0.0 there (protocol 1000)"},
      {"an exit after the link was up", greet("echo old >&2; ") + "echo 'Connection closed.' >&2; exit 255",
       "sh n3 ended with code 255: Connection closed."},
      {"bytes that are no packet", greet() + "echo garbage; exec sleep 1000",
       "the peer sent an invalid packet"},
      {"a closed stdout", "exec >&-; exec sleep 1000", "sh n3 closed its output"},
      {"a closed stdin", greet() + "exec <&-; exec sleep 1000", "sh n3 closed its output"},
  };
  for (const auto& row : cases) {
    CAPTURE(row.name);
    const auto fds = fds_of(::getpid());
    {
      HostCommandTiming timing;
      // Only a command that does not end needs them.
      timing.last_words = row.message.ends_with("output") ? kSoon : std::chrono::milliseconds(kOneHour);
      timing.grace = std::chrono::milliseconds(10);
      timing.link.silence = std::chrono::milliseconds(kOneHour);
      HostRun run(row.script, timing);
      run.run_to_end();
      CHECK(*run.observer.end == row.message);
      CHECK(run.command->unsent() == 0);
      run.command->send("ignored");
      run.command->hold(true);
      run.run_to_idle();
    }
    CHECK(fds_of(::getpid()) == fds);
  }
}

TEST_CASE("host command: too much noise") {
  HostCommandTiming timing;
  timing.grace = std::chrono::milliseconds(10);
  HostRun run("while :; do echo noise; done", timing);
  run.run_to_end();
  CHECK(run.observer.end->starts_with("its output is not wireup-agent's: ..."));
  CHECK(run.observer.end->size() < 600);
  run.run_to_idle();
}

TEST_CASE("host command: a command that is given up is ended, and what it has written is reported") {
  HostCommandTiming timing;
  timing.grace = std::chrono::milliseconds(10);
  HostRun run("echo 'is it there?' >&2; exec sleep 1000", timing);
  run_until(run.reactor, [&] { return !run.observer.lines.empty(); });
  run.command->give_up("no answer within 100 ms");
  CHECK(run.observer.end == "no answer within 100 ms: is it there?");
  CHECK(run.observer.ups == 0);
  run.run_to_idle();
}

TEST_CASE(
    "host command: several are started at the same time, and one that cannot be does not affect others") {
  HostCommandSpec none = script_of("exit 0");
  none.command = {"/no-such-program"};
  os::Reactor reactor;
  Reaper reaper(reactor);
  std::vector<StartedHostCommand> started =
      start_host_commands({script_of("exit 3"), none, script_of(greet() + "exec cat")});
  REQUIRE(started.size() == 3);
  HostEnd observers[3];
  std::vector<std::unique_ptr<HostCommand>> commands;
  for (std::size_t i = 0; i < 3; ++i)
    commands.push_back(std::make_unique<HostCommand>(reactor, reaper, std::move(started[i]), observers[i]));
  run_until(reactor, [&] { return observers[0].end && observers[1].end && observers[2].ups > 0; });
  CHECK(*observers[0].end == "sh n3 ended with code 3");
  CHECK(*observers[1].end == "/no-such-program cannot be executed: No such file or directory");
  CHECK_FALSE(observers[2].end.has_value());
}

TEST_CASE("host command: a command that is killed or stopped") {
  HostCommandTiming timing;
  timing.link = {std::chrono::milliseconds(10), std::chrono::milliseconds(200)};
  timing.grace = std::chrono::milliseconds(10);
  std::string message;
  int signal = 0;
  SUBCASE("killed") {
    signal = SIGKILL;
    message = "sh n3 was killed by signal 9 (Killed)";
    timing.link = {};
  }
  SUBCASE("stopped") {
    signal = SIGSTOP;
    message = "no sign for 200 ms";
    timing.grace = kOneHour;  // it is killed at once
  }
  HostRun run(greet("echo $$ >&2; ") + "exec cat", timing);
  run_until(run.reactor, [&] { return run.observer.ups > 0 && !run.observer.lines.empty(); });
  REQUIRE(::kill(std::stoi(run.observer.lines[0]), signal) == 0);
  run.run_to_end();
  CHECK(*run.observer.end == message);
  run.run_to_idle();
}

TEST_CASE("host command: a process that keeps the command's output open does not hold up its end") {
  HostCommandTiming timing;
  timing.last_words = kSoon;
  HostRun run("sleep 1000 & echo $! >&2; exit 3", timing);
  run.run_to_end();
  REQUIRE(run.observer.lines.size() == 1);
  CHECK(*run.observer.end == "sh n3 ended with code 3: " + run.observer.lines[0]);
  CHECK(::kill(std::stoi(run.observer.lines[0]), SIGKILL) == 0);
}

TEST_CASE("host command: a command that cannot be started") {
  HostCommandSpec spec = script_of("exit 0");
  std::string message;
  const TemporaryFolder folder;
  SUBCASE("no such program") {
    spec.command = {"no-such-program", "n3"};
    message = "no-such-program cannot be executed: No such file or directory";
  }
  SUBCASE("no program in PATH") {
    spec.environment = {"A=b", "PATH=" + folder.path()};
    message = "sh cannot be executed: No such file or directory";
  }
  SUBCASE("not executable") {
    write_file(folder / "ssh", "", 0600);
    spec.command = {folder / "ssh", "n3"};
    message = folder / "ssh" + " cannot be executed: Permission denied";
  }
  SUBCASE("no file to send") {
    spec.stage = folder / "none";
    message = spec.stage + " cannot be read: No such file or directory";
  }
  SUBCASE("a folder to send") {
    spec.stage = folder.path();
    message = spec.stage + " cannot be read: Invalid argument";
  }
  HostRun run(std::move(spec));
  run.command->send("ignored");
  CHECK_FALSE(run.observer.end.has_value());
  run.run_to_end();
  CHECK(*run.observer.end == message);
  run.run_to_idle();
}

TEST_CASE("host command: sends a file first, and the command knows its size") {
  const TemporaryFolder folder;
  const std::string content = text_of(1'000'000);
  write_file(folder / "agent", content, 0600);
  // The command reads nothing until the test opens the FIFO.
  REQUIRE(::mkfifo((folder / "start").c_str(), 0600) == 0);
  HostCommandSpec spec = script_of(": < " + folder / "start" + "; head -c \"$2\" > " + folder / "copy" +
                                   "; " + greet("echo $1 $3 >&2; ") + "exec cat");
  // The words before it are the user's, for example an option of ssh.
  spec.command.insert(spec.command.end(), {"sh", "[%s]", "%s", "last"});
  spec.stage = folder / "agent";
  HostRun run(std::move(spec));
  run.command->send("packet");
  CHECK(run.command->unsent() > content.size() / 2);
  const os::UniqueFd start(::open((folder / "start").c_str(), O_RDWR | O_CLOEXEC));
  run_until(run.reactor, [&] { return run.observer.packets.size() == 1; });
  CHECK(run.observer.packets[0] == "packet");
  CHECK(bool(read_file(folder / "copy") == content));
  CHECK(run.observer.lines == std::vector<std::string>{"[%s] last"});
}

TEST_CASE("host command: a command that ends while the file is sent") {
  const TemporaryFolder folder;
  write_file(folder / "agent", std::string(1 << 20, 'x'), 0600);
  HostCommandSpec spec = script_of("head -c 100 > /dev/null; echo 'No space left on device' >&2; exit 1");
  spec.stage = folder / "agent";
  HostRun run(std::move(spec));
  run.run_to_end();
  CHECK(*run.observer.end == "sh n3 ended with code 1: No space left on device");
}

TEST_CASE("host command: is the leader of a session, with three fds and its own environment") {
  HostCommandSpec spec = script_of(
      "read -r stat < /proc/$$/stat; set -- $stat; [ $6 = $$ ] && echo \"leads $NAME\" >&2; "
      "set -- /proc/$$/fd/*; echo $# >&2; " +
      greet() + "exec cat");
  spec.environment = {"NAME=value"};
  HostRun run(std::move(spec));
  run.run_to_up();
  run_until(run.reactor, [&] { return run.observer.lines.size() == 2; });
  CHECK(run.observer.lines[0] == "leads value");
  // A shell may have its script or terminal open in addition.
  CHECK(std::stoi(run.observer.lines[1]) <= 4);
}

TEST_CASE("host command: after its destruction the command may end by itself, and is killed if it does not") {
  const TemporaryFolder folder;
  HostCommandTiming timing;
  std::string script;
  SUBCASE("ends") { script = "cat > /dev/null; echo ended > " + folder / "file"; }
  SUBCASE("does not end") {
    script = "exec sleep 1000";
    timing.grace = std::chrono::milliseconds(10);
  }
  SUBCASE("is stopped") {
    script = "kill -STOP $$";
    timing.grace = std::chrono::milliseconds(10);
  }
  const bool ends = timing.grace > kSoon;
  if (ends) timing.grace = kOneHour;
  HostRun run(greet() + script, timing);
  run.run_to_up();
  run.command.reset();
  CHECK_FALSE(run.reaper.idle());
  run.run_to_idle();
  CHECK_FALSE(run.observer.end.has_value());
  if (ends) CHECK(read_file(folder / "file") == "ended\n");
}

TEST_CASE("host command: a command that has not reached the host is asked to end") {
  HostCommandTiming timing;
  timing.grace = kOneHour;
  HostRun run("echo started >&2; exec sleep 1000", timing);
  run_until(run.reactor, [&] { return !run.observer.lines.empty(); });
  run.command.reset();
  run.run_to_idle();
}

TEST_CASE("host command: a command that floods its link and its stderr can be held") {
  HostCommandTiming timing;
  timing.grace = std::chrono::milliseconds(10);
  HostRun run("while :; do echo line >&2; done & " + greet() + "exec cat", timing);
  bool held = false;
  run.observer.at_line = [&] {
    if (run.observer.ups == 0) return;
    run.command->hold(true);
    held = true;
  };
  run_until(run.reactor, [&] { return held; });
  const std::size_t count = run.observer.lines.size();
  run.command->send("packet");
  for (int turn = 0; turn < 100; ++turn) run_once(run.reactor);
  CHECK(run.observer.lines.size() == count);
  CHECK(run.observer.packets.empty());
  run.observer.at_line = nullptr;
  run.command->hold(false);
  run_until(run.reactor,
            [&] { return run.observer.lines.size() > count + 1000 && run.observer.packets.size() == 1; });
  run.command.reset();
  run.run_to_idle();
}

TEST_CASE("host command: can be destroyed in its callbacks") {
  HostCommandTiming timing;
  timing.grace = std::chrono::milliseconds(10);
  HostRun run(greet("echo one >&2; echo two >&2; ") + "exec cat", timing);
  const auto destroy = [&] { run.command.reset(); };
  SUBCASE("up") { run.observer.at_up = destroy; }
  SUBCASE("packet") {
    run.observer.at_packet = destroy;
    run.command->send("one");
    run.command->send("two");
  }
  SUBCASE("line") { run.observer.at_line = destroy; }
  SUBCASE("the last line, after the end of the command") {
    run.command = std::make_unique<HostCommand>(run.reactor, run.reaper,
                                                start(script_of("echo one >&2; echo two >&2; exit 1")),
                                                run.observer, timing);
    run.command->hold(true);
    run.observer.at_line = destroy;
  }
  SUBCASE("end") {
    run.observer.at_end = destroy;
    run.command = std::make_unique<HostCommand>(run.reactor, run.reaper, start(script_of("exit 1")),
                                                run.observer, timing);
  }
  run_until(run.reactor, [&] { return run.command == nullptr; });
  run.run_to_idle();
  CHECK(run.observer.packets.size() <= 1);
}

TEST_CASE("host command: no fault leaves a process or an fd behind") {
  for (const auto kind : {wireup::test::FaultKind::allocation, wireup::test::FaultKind::system_call}) {
    const auto before = fds_of(::getpid());
    const auto faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
      HostEnd observer;
      os::Reactor reactor;
      Reaper reaper(reactor);
      HostCommandSpec spec = script_of("exec sleep 1000");
      const wireup::test::Fault fault({kind, wireup::test::FaultThread::own}, nth);
      try {
        const HostCommand command(reactor, reaper, start(std::move(spec)), observer);
      } catch (const std::bad_alloc&) {
      }
      return fault.hit();
    });
    CHECK(faults >= 2);
    CHECK(fds_of(::getpid()) == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
    CHECK(errno == ECHILD);
  }
}

}  // namespace wireup::runtime
