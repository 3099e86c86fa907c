// How wireup-agent passes its standard input on to ranks.
#include <pty.h>
#include <sys/ioctl.h>

#include <thread>

#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

// The first end is the master. Bytes that are written to it are typed input.
os::FdPair open_terminal() {
  int master = -1;
  int slave = -1;
  REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  return {os::UniqueFd(master), os::UniqueFd(slave)};
}

TEST_CASE("stdin goes to one rank, and the others read nothing") {
  os::FdPair in = os::make_pipe();
  os::FdPair out = os::make_pipe();
  Driver agent({.in = in.first.get(), .out = out.second.get()});
  out.second.reset();
  in.first.reset();
  agent.readers = {1};
  agent.hello(Driver::labelled());
  agent.program({"cat"});
  agent.start(0);
  CHECK(agent.expect<msg::Exited>().task == 0);
  agent.start(1);
  write_all(in.second.get(), "a\nb\n");
  CHECK(read_line(out.first.get()) == "[1] a");
  CHECK(read_line(out.first.get()) == "[1] b");
  write_all(in.second.get(), "c");
  in.second.reset();
  CHECK(agent.expect<msg::Exited>().task == 1);
  agent.finish();
  CHECK(read_all(out.first.get()) == "[1] c\n");
}

TEST_CASE(
    "each of several readers gets all of stdin at the pace of the slowest, and one that has closed it does "
    "not count") {
  os::FdPair in = os::make_pipe();
  os::FdPair go = os::make_pipe();
  os::FdPair left = os::make_pipe();
  std::vector<os::FdPair> outs;
  for (int i = 0; i < 3; ++i) outs.push_back(os::make_pipe());
  Driver agent({.in = in.first.get()});
  in.first.reset();
  agent.readers = {0, 1, 2};
  agent.hello();
  agent.shell("cksum", 0);
  agent.shell("read go <&5; cksum", 1);
  agent.shell("exec <&-; echo >&6; read go <&5", 2);
  std::string text;
  for (int i = 0; text.size() < 1'000'000; ++i) text += std::to_string(i) + "\n";
  std::thread writer([&] {
    write_all(in.second.get(), text);
    in.second.reset();
  });
  agent.start(0, 0, {{outs[0].second.get(), 1}});
  agent.start(1, 1, {{outs[1].second.get(), 1}, {go.first.get(), 5}});
  agent.start(2, 2, {{outs[2].second.get(), 1}, {go.first.get(), 5}, {left.second.get(), 6}});
  for (os::FdPair& out : outs) out.second.reset();
  CHECK(read_line(left.first.get()).empty());
  // The text is larger than the pipes and the buffer of the agent, so the fast rank waits for the slow one.
  CHECK(agent.silent());
  write_all(go.second.get(), "\n\n");
  for (int i = 0; i < 3; ++i) CHECK(agent.expect<msg::Exited>().value == 0);
  writer.join();
  agent.finish();
  for (int i = 0; i < 2; ++i) {
    CHECK(read_all(outs[static_cast<std::size_t>(i)].first.get())
              .find(" " + std::to_string(text.size()) + "\n") != std::string::npos);
  }
}

TEST_CASE("stdin is read only when its last reader has started, or could not be started") {
  os::FdPair in = os::make_pipe();
  os::FdPair out = os::make_pipe();
  Driver agent({.in = in.first.get(), .out = out.second.get()});
  out.second.reset();
  in.first.reset();
  agent.readers = {0, 1};
  agent.hello();
  agent.program({"cat"});
  agent.program({"/no/such/program"}, 1);
  agent.start(0);
  write_all(in.second.get(), "early\n");
  in.second.reset();
  CHECK_FALSE(wait_readable(out.first.get(), 0));
  agent.send(msg::Start{0, {{.rank = 1, .program = 1, .reads_stdin = true}}});
  CHECK(agent.expect<msg::StartFailed>().error == ENOENT);
  CHECK(read_line(out.first.get()) == "early");
  CHECK(agent.expect<msg::Exited>().value == 0);
  agent.finish();
}

TEST_CASE("300 kB of stdin wait for a slow reader") {
  for (const bool by_socket : {false, true}) {
    CAPTURE(by_socket);
    os::FdPair in = by_socket ? os::stream_pair() : os::make_pipe();
    if (by_socket) {
      std::swap(in.first, in.second);
      os::set_nonblocking(in.second.get(), false);
    }
    os::FdPair out = os::make_pipe();
    os::FdPair go = os::make_pipe();
    Driver agent({.in = in.first.get(), .out = out.second.get()});
    out.second.reset();
    in.first.reset();
    agent.readers = {0};
    agent.hello();
    agent.shell("read go <&5; cksum");
    const pid_t pid = agent.start(0, 0, {{go.first.get(), 5}});
    std::string text;
    for (int i = 0; text.size() < 300'000; ++i) text += std::to_string(i) + "\n";
    std::thread writer([&] {
      write_all(in.second.get(), text);
      in.second.reset();
    });
    // Meanwhile the agent does its other work.
    agent.program({"true"}, 1);
    agent.start(1, 1);
    CHECK(agent.expect<msg::Exited>().task == 1);
    CHECK(exists(pid));
    write_all(go.second.get(), "\n");
    CHECK(agent.expect<msg::Exited>().value == 0);
    writer.join();
    agent.finish();
    const std::string got = read_all(out.first.get());
    CHECK(got.find(" " + std::to_string(text.size()) + "\n") != std::string::npos);
  }
}

TEST_CASE("stdin is a file, /dev/null, or a folder, which cannot be read") {
  const auto run = [](int in) {
    os::FdPair out = os::make_pipe();
    Driver agent({.in = in, .out = out.second.get()});
    out.second.reset();
    agent.readers = {0};
    agent.hello();
    agent.program({"cat"});
    agent.start(0);
    CHECK(agent.expect<msg::Exited>().value == 0);
    agent.finish();
    return read_all(out.first.get());
  };
  const os::UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  REQUIRE(file);
  // Less than the capacity of a pipe, so the output can be read after the end.
  const std::string text(60'000, 'y');
  write_all(file.get(), text);
  REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
  CHECK(run(file.get()) == text);
  CHECK(run(-1).empty());
  const os::UniqueFd folder(::open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  CHECK(run(folder.get()).empty());
}

TEST_CASE("stdin is not read while the pipe of the rank is full, and not after the rank has ended") {
  os::FdPair in = os::make_pipe();
  Driver agent({.in = in.first.get()});
  agent.readers = {0};
  agent.hello();
  agent.program({"sleep", "1000"});
  agent.program({"true"}, 1);
  agent.start(0);
  os::set_nonblocking(in.second.get(), true);
  constexpr std::size_t kPipe = 65536;
  std::size_t written = 0;
  const auto fill = [&] {
    const std::string chunk(4096, 'x');
    for (ssize_t size = 0; (size = ::write(in.second.get(), chunk.data(), chunk.size())) > 0;) {
      written += static_cast<std::size_t>(size);
      if (written > 16 * kPipe) break;
    }
    return written >= 2 * kPipe;
  };
  // A start and an exit take the agent through several turns of its loop.
  const auto turn = [&] {
    agent.start(1, 1);
    agent.expect<msg::Exited>();
  };
  REQUIRE(eventually(fill));
  for (int i = 0; i < 5; ++i) {
    turn();
    fill();
  }
  // The pipe of the rank, the buffer of the agent, and this pipe can be full.
  CHECK(written <= 3 * kPipe);

  agent.send(msg::Signal{SIGKILL, {0}});
  agent.expect<msg::Exited>();
  int before = 0;
  REQUIRE(::ioctl(in.first.get(), FIONREAD, &before) == 0);
  CHECK(before > 0);
  turn();
  int after = 0;
  REQUIRE(::ioctl(in.first.get(), FIONREAD, &after) == 0);
  CHECK(after == before);
  agent.finish();
}

TEST_CASE("a terminal as stdin") {
  auto [keyboard, terminal] = open_terminal();
  os::FdPair out = os::make_pipe();
  Driver agent({.in = terminal.get(), .out = out.second.get()});
  out.second.reset();
  agent.readers = {0};
  agent.hello();
  agent.program({"cat"});
  agent.start(0);
  write_all(keyboard.get(), "typed\n");
  CHECK(read_line(out.first.get()) == "typed");
  write_all(keyboard.get(), "\x04");
  CHECK(agent.expect<msg::Exited>().value == 0);
  CHECK((::fcntl(terminal.get(), F_GETFL) & O_NONBLOCK) == 0);
  agent.finish();
}

TEST_CASE("a terminal is read only while the agent is in its foreground") {
  auto [keyboard, terminal] = open_terminal();
  os::FdPair out = os::make_pipe();
  os::FdPair go = os::make_pipe();
  os::FdPair launcher = os::seqpacket_pair();
  // A shell with job control, which first has another POSIX process group in the foreground.
  const pid_t shell = ::fork();
  if (shell == 0) {
    launcher.first.reset();
    go.second.reset();
    if (::setsid() < 0 || ::ioctl(terminal.get(), TIOCSCTTY, 0) != 0) ::_exit(100);
    ::signal(SIGTTOU, SIG_IGN);
    const pid_t other = ::fork();
    if (other == 0) {
      for (;;) ::pause();
    }
    if (::setpgid(other, other) != 0 || ::tcsetpgrp(terminal.get(), other) != 0) ::_exit(101);
    const os::StartedProcess agent = os::start_process(
        Driver::agent({.in = terminal.get(), .out = out.second.get()}, launcher.second.get()));
    if (!wait_readable(go.first.get()) || ::tcsetpgrp(terminal.get(), ::getpgrp()) != 0) ::_exit(102);
    os::ExitStatus status;
    if (!wait_readable(agent.pidfd.get()) || !os::try_wait(agent.pidfd.get(), status)) ::_exit(103);
    ::kill(other, SIGKILL);
    ::_exit(status.value);
  }
  launcher.second.reset();
  Driver agent(std::move(launcher.first),
               {shell, os::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, shell, 0)))});
  out.second.reset();
  agent.readers = {0};
  agent.hello();
  agent.program({"cat"}, 0);
  agent.program({"true"}, 1);
  agent.start(0);
  write_all(keyboard.get(), "typed\n");
  for (int i = 0; i < 5; ++i) {
    agent.start(1, 1);
    CHECK(agent.expect<msg::Exited>().task == 1);
  }
  CHECK_FALSE(wait_readable(out.first.get(), 0));
  write_all(go.second.get(), "\n");
  CHECK(read_line(out.first.get()) == "typed");
  write_all(keyboard.get(), "\x04");
  CHECK(agent.expect<msg::Exited>().task == 0);
  agent.end();
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

}  // namespace
