// What wireup-agent makes of the output of its ranks.
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>
#include <map>
#include <thread>

#include "host/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using msg::OutputMode;

// Whether a pipe, given by its read end, takes no more.
bool is_full(int pipe) {
  const std::string path = "/proc/self/fd/" + std::to_string(pipe);
  const os::UniqueFd end(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  pollfd entry{end.get(), POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 0;
}

TEST_CASE("labelled output: whole lines, an unended one gets its newline, stderr stays apart") {
  os::FdPair out = os::make_pipe();
  os::FdPair err = os::make_pipe();
  Driver agent({.out = out.second.get(), .err = err.second.get()});
  out.second.reset();
  err.second.reset();
  agent.hello(OutputMode::label);
  agent.shell("printf 'one\\ntwo\\n\\npar'; printf 'tial'; printf 'oops\\n' >&2; printf 'end' >&2");
  agent.start(12);
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == "[12] one\n[12] two\n[12] \n[12] partial\n");
  CHECK(read_all(err.first.get()) == "[12] oops\n[12] end\n");
}

TEST_CASE("a partial line is never joined with another rank's") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  agent.shell("printf \"start of $RANK\"; read x <&5; echo \" end of $RANK\"");
  os::FdPair go0 = os::make_pipe();
  os::FdPair go1 = os::make_pipe();
  agent.start(0, 0, {{go0.first.get(), 5}});
  agent.start(1, 0, {{go1.first.get(), 5}});
  write_all(go1.second.get(), "\n");
  agent.expect<msg::Exited>();
  CHECK(read_line(out.first.get()) == "[1] start of 1 end of 1");
  write_all(go0.second.get(), "\n");
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == "[0] start of 0 end of 0\n");
}

TEST_CASE("a very long line comes in pieces with one label, unless another rank's line comes between") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  // More than a pipe holds beside one piece: when it is written, a piece has gone out.
  agent.shell("head -c 200000 /dev/zero | tr '\\0' x; echo >&6; read go <&5; echo end", 0);
  agent.shell("echo between", 1);
  os::FdPair go = os::make_pipe();
  os::FdPair written = os::make_pipe();
  std::string text;
  std::thread reader([&] { text = read_all(out.first.get()); });
  agent.start(0, 0, {{go.first.get(), 5}, {written.second.get(), 6}});
  CHECK(read_line(written.first.get()).empty());
  agent.start(1, 1);
  agent.expect<msg::Exited>();
  write_all(go.second.get(), "\n");
  agent.expect<msg::Exited>();
  agent.finish();
  reader.join();
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].starts_with("[0] xxx"));
  CHECK(lines[1] == "[1] between");
  CHECK(lines[2].starts_with("[0] "));
  CHECK(lines[2].ends_with("end"));
  CHECK(std::count(text.begin(), text.end(), 'x') == 200000);
}

TEST_CASE("stdout and stderr on one pipe keep their lines whole") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get(), .err = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  agent.shell(
      "i=0; while [ $i -lt 3000 ]; do echo oooooooooooooooooooooooooooooooo; echo eeeeeeeeeeeeeeeeeeeee >&2;"
      " i=$((i+1)); done");
  for (std::uint32_t rank = 0; rank < 3; ++rank) agent.start(rank);
  std::string text;
  std::thread reader([&] { text = read_all(out.first.get()); });
  for (int rank = 0; rank < 3; ++rank) agent.expect<msg::Exited>();
  agent.finish();
  reader.join();
  std::map<std::string, int> counts;
  for (const std::string& line : lines_of(text)) ++counts[line];
  CHECK(counts.size() == 6);
  for (const auto& [line, count] : counts) CHECK_MESSAGE(count == 3000, line);
}

TEST_CASE("a reader that stops holds the ranks up, loses nothing and delays no exit") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  constexpr int kLines = 400'000;
  agent.shell("seq 1 400000", 0);
  agent.shell("exit 3", 1);
  const pid_t writer = agent.start(0);
  // Full: the writer sleeps in write(2), long before its end.
  REQUIRE(eventually([&] { return is_full(out.first.get()) && state_of(writer) == 'S'; }));
  agent.start(1, 1);
  CHECK(agent.expect<msg::Exited>().value == 3);
  CHECK(agent.silent());
  std::string text;
  std::thread reader([&] { text = read_all(out.first.get()); });
  CHECK(agent.expect<msg::Exited>().rank == 0);
  agent.finish();
  reader.join();
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == kLines);
  CHECK(lines.front() == "[0] 1");
  CHECK(lines.back() == "[0] 400000");
}

TEST_CASE("a reader that stops does not hold up the end when the launcher goes") {
  for (const OutputMode mode : {OutputMode::inherit, OutputMode::label}) {
    os::FdPair out = os::make_pipe();
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.hello(mode);
    agent.program({"yes"});
    const pid_t writer = agent.start(0);
    REQUIRE(eventually([&] { return is_full(out.first.get()) && state_of(writer) == 'S'; }));
    agent.hang_up();
    CHECK(agent.wait(2000).value == 1);
    CHECK_FALSE(exists(writer));
  }
}

TEST_CASE("output of ranks is drained at the end however late it is read") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  // A little under what a pipe holds, more than the sink takes with labels.
  agent.shell("seq 1 12000");
  for (std::uint32_t rank = 0; rank < 3; ++rank) agent.start(rank);
  for (int rank = 0; rank < 3; ++rank) {
    // Each rank can write its all into its own pipe.
    agent.expect<msg::Exited>();
  }
  agent.end();
  CHECK(agent.silent());
  const std::string text = read_all(out.first.get());
  CHECK(std::count(text.begin(), text.end(), '\n') == 3 * 12000);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("when the reader of labelled output has gone, ranks get SIGPIPE") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  agent.program({"yes"});
  agent.start(0);
  read_line(out.first.get());
  out.first.reset();
  const auto exited = agent.expect<msg::Exited>();
  CHECK(exited.signaled);
  CHECK(exited.value == SIGPIPE);
  agent.start(1);
  CHECK(agent.expect<msg::Exited>().value == SIGPIPE);
  agent.finish();
}

TEST_CASE("labelled output reaches files, sockets and terminals") {
  const auto run = [](int out) {
    Driver agent({.out = out});
    agent.hello(OutputMode::label);
    agent.shell("seq 1 1000");
    agent.start(5);
    agent.expect<msg::Exited>();
    agent.finish();
  };
  std::string expected;
  for (int i = 1; i <= 1000; ++i) expected += "[5] " + std::to_string(i) + "\n";

  SUBCASE("file") {
    const os::UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(file);
    run(file.get());
    REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
    CHECK(read_all(file.get()) == expected);
  }
  SUBCASE("socket") {
    os::FdPair pair = os::stream_pair();
    run(pair.second.get());
    pair.second.reset();
    CHECK(read_all(pair.first.get()) == expected);
  }
  SUBCASE("terminal") {
    int master = -1;
    int slave = -1;
    termios raw{};
    ::cfmakeraw(&raw);
    REQUIRE(::openpty(&master, &slave, nullptr, &raw, nullptr) == 0);
    const os::UniqueFd reader(master);
    os::UniqueFd writer(slave);
    std::string text;
    std::thread thread([&] { text = read_all(reader.get()); });
    run(writer.get());
    writer.reset();
    thread.join();
    CHECK(text == expected);
  }
  SUBCASE("flags of the shared description stay as they are") {
    os::FdPair pipe = os::make_pipe();
    run(pipe.second.get());
    CHECK((::fcntl(pipe.second.get(), F_GETFL) & O_NONBLOCK) == 0);
    pipe.second.reset();
    CHECK(read_all(pipe.first.get()) == expected);
  }
}

TEST_CASE("two hundred ranks, each with a line and an exit code") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(OutputMode::label);
  agent.shell("echo rank $RANK; exit $RANK");
  msg::Spawn spawn{0, {}};
  std::vector<int> fds;
  const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (std::uint32_t rank = 0; rank < 200; ++rank) {
    spawn.ranks.push_back({rank, {"RANK=" + std::to_string(rank)}, {9}});
    fds.push_back(null.get());
  }
  agent.send(spawn, fds);
  std::map<std::uint32_t, int> exits;
  int started = 0;
  while (exits.size() < 200) {
    const auto message = agent.receive();
    REQUIRE(message.has_value());
    if (const auto* exited = std::get_if<msg::Exited>(&*message)) exits[exited->rank] = exited->value;
    if (std::holds_alternative<msg::Started>(*message)) ++started;
  }
  CHECK(started == 200);
  for (const auto& [rank, value] : exits) CHECK(value == static_cast<int>(rank));
  agent.finish();
  auto lines = lines_of(read_all(out.first.get()));
  std::sort(lines.begin(), lines.end());
  std::vector<std::string> expected;
  for (int rank = 0; rank < 200; ++rank) {
    expected.push_back("[" + std::to_string(rank) + "] rank " + std::to_string(rank));
  }
  std::sort(expected.begin(), expected.end());
  CHECK(lines == expected);
}

}  // namespace
