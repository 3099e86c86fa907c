// How wireup-agent joins and passes on the output of the ranks.
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>

#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using msg::OutputMode;

// Returns whether the pipe with this read end is full.
bool is_full(int pipe) {
  const std::string path = "/proc/self/fd/" + std::to_string(pipe);
  const os::UniqueFd end(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  pollfd entry{end.get(), POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 0;
}

TEST_CASE("labelled output has whole lines, the last one gets a newline, and stderr stays separate") {
  os::FdPair out = os::make_pipe();
  os::FdPair err = os::make_pipe();
  Driver agent({.out = out.second.get(), .err = err.second.get()});
  out.second.reset();
  err.second.reset();
  agent.hello(Driver::labelled());
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
  agent.hello(Driver::labelled());
  agent.shell("printf \"start of $PMI_RANK\"; read x <&5; echo \" end of $PMI_RANK\"");
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

TEST_CASE("a very long line is not cut while it keeps arriving") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  agent.shell("echo >&6; head -c 10000000 /dev/zero | tr '\\0' $PMI_RANK; echo");
  std::string text;
  std::thread reader([&] { text = read_all(out.first.get()); });
  os::FdPair begun = os::make_pipe();
  for (std::uint32_t rank = 0; rank < 3; ++rank) agent.start(rank, 0, {{begun.second.get(), 6}});
  for (int rank = 0; rank < 3; ++rank) CHECK(agent.expect<msg::Exited>().value == 0);
  agent.finish();
  reader.join();
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == 3);
  for (const std::string& line : lines) {
    REQUIRE(line.size() == 10'000'004);
    const char rank = line[1];
    CHECK(line.starts_with(std::string("[") + rank + "] "));
    CHECK(std::count(line.begin() + 4, line.end(), rank) == 10'000'000);
  }
}

TEST_CASE(
    "the beginning of a line is written when its rank is silent, and a line of another rank then cuts it") {
  os::FdPair out = os::make_pipe();
  os::FdPair go0 = os::make_pipe();
  os::FdPair go1 = os::make_pipe();
  const auto run = [&](msg::Hello plans) {
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.hello(std::move(plans));
    agent.shell("printf 'Your name: '; read go <&5; echo Ada; echo end", 0);
    agent.shell("read go <&5; echo between", 1);
    agent.start(0, 0, {{go0.first.get(), 5}});
    agent.start(1, 1, {{go1.first.get(), 5}});
    // The prompt is written although its line has no end.
    std::string text(4 + 11, '\0');
    text.resize(plans.label.empty() ? 11 : 15);
    for (std::size_t size = 0; size < text.size();) {
      REQUIRE(wait_readable(out.first.get()));
      const ssize_t more = ::read(out.first.get(), text.data() + size, text.size() - size);
      REQUIRE(more > 0);
      size += static_cast<std::size_t>(more);
    }
    write_all(go1.second.get(), "\n");
    agent.expect<msg::Exited>();
    write_all(go0.second.get(), "\n");
    agent.expect<msg::Exited>();
    agent.finish();
    return text + read_all(out.first.get());
  };
  SUBCASE("with labels") {
    CHECK(run(Driver::labelled()) == "[0] Your name: ...\n[1] between\n[0] ...Ada\n[0] end\n");
  }
  SUBCASE("without labels only the newline is added") {
    CHECK(run({.out = {OutputMode::merge}}) == "Your name: \nbetween\nAda\nend\n");
  }
}

TEST_CASE(
    "the beginning of a line that arrives letter by letter is written, although its rank is never silent") {
  os::FdPair out = os::make_pipe();
  os::FdPair go = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello({.out = {OutputMode::merge}});
  agent.program({"bash", "-c", "while ! read -t 0 go <&5; do printf .; sleep 0.05; done; echo end"}, 1);
  agent.start(0, 1, {{go.first.get(), 5}});
  char dot = 0;
  REQUIRE(wait_readable(out.first.get()));
  REQUIRE(::read(out.first.get(), &dot, 1) == 1);
  CHECK(dot == '.');
  write_all(go.second.get(), "\n");
  agent.expect<msg::Exited>();
  agent.finish();
  const std::string rest = read_all(out.first.get());
  CHECK(rest.ends_with(".end\n"));
}

TEST_CASE("unread output delays the end until the grace of a second End has passed") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello({.out = {OutputMode::merge}});
  agent.program({"yes"});
  agent.start(0);
  REQUIRE(eventually([&] { return is_full(out.first.get()); }));
  agent.end();
  CHECK(agent.expect<msg::Exited>().ended);
  CHECK(agent.silent());
  agent.end(10);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("without labels bytes are passed on unchanged, and nothing is added at the end") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello({.out = {OutputMode::merge}, .err = {OutputMode::merge}});
  agent.shell("printf 'a\\0b\\n\\001\\377no newline'", 0);
  agent.shell(":", 1);
  agent.start(0, 0);
  agent.start(1, 1);
  agent.expect<msg::Exited>();
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == std::string("a\0b\n\001\377no newline", 16));
}

TEST_CASE("labels and names of files are made from patterns") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet({.out = {OutputMode::merge}, .label = "%r|%h|%p|%g|%%|%x|%t|"});
  msg::Group group = Driver::group();
  group.layout = {{2, 0, 0}, {2, 1, 0}};
  group.nodes = {{}, {.name = "there", .number = 7}};
  agent.add(group);
  agent.program({"echo", "hi"});
  agent.start(3);
  agent.expect<msg::Exited>();
  agent.finish();
  const std::string text = read_all(out.first.get());
  CHECK(text.starts_with("3|there|7|0|%|%x|"));
  CHECK(std::stol(text.substr(17)) > 1'700'000'000);
  CHECK(text.ends_with("|hi\n"));
}

class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string content(const std::string& name) const {
    const os::UniqueFd fd(::open(file(name).c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(fd);
    return read_all(fd.get());
  }

 private:
  std::string path_ = "/tmp/agent-output-XXXXXX";
};

TEST_CASE("output into files, one for each rank or one for several, replaces their content") {
  const Folder folder;
  for (const std::string label : {"", "[%r] "}) {
    CAPTURE(label);
    const std::string front = label.empty() ? "" : "[0] ";
    for (const char* name : {"out.0", "shared"}) {
      const os::UniqueFd old(::open(folder.file(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      write_all(old.get(), std::string(1000, 'o'));
    }
    Driver agent;
    agent.hello({.out = {OutputMode::file, folder.file("out.%r")},
                 .err = {OutputMode::file, folder.file("shared")},
                 .label = label});
    agent.shell("echo out; i=0; while [ $i -lt 1000 ]; do echo error >&2; i=$((i+1)); done");
    agent.start(0);
    agent.start(1);
    agent.expect<msg::Exited>();
    agent.expect<msg::Exited>();
    agent.finish();
    CHECK(folder.content("out.0") == front + "out\n");
    const auto lines = lines_of(folder.content("shared"));
    CHECK(lines.size() == 2000);
    CHECK(std::count(lines.begin(), lines.end(), front + "error") == (label.empty() ? 2000 : 1000));
  }
}

TEST_CASE("a file that cannot be opened and a full disk are reported") {
  Driver agent;
  agent.hello({.out = {OutputMode::file, "/no/such/folder/%r"}});
  agent.program({"true"});
  agent.send(msg::Start{0, {{.rank = 0}}});
  const auto failed = agent.expect<msg::StartFailed>();
  CHECK(failed.error == ENOENT);
  CHECK(failed.syscall == "open");
  CHECK(failed.subject == "/no/such/folder/0");
  agent.finish();

  Driver full;
  full.hello({.out = {OutputMode::file, "/dev/full"}, .label = "[%r] "});
  full.program({"yes"});
  full.start(0);
  const auto lost = full.expect<msg::OutputLost>();
  CHECK(lost.error == ENOSPC);
  CHECK(lost.subject == "/dev/full");
  CHECK(full.expect<msg::Exited>().value == SIGPIPE);
  full.finish();
}

TEST_CASE("the output of silent ranks is discarded") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  agent.program({"echo", "said"});
  agent.start(msg::StartRank{.rank = 0, .silent = true});
  agent.start(msg::StartRank{.rank = 1});
  agent.expect<msg::Exited>();
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == "[1] said\n");
}

TEST_CASE("a status line on the terminal is removed, and not shown again, when a rank prints") {
  int master = -1;
  int slave = -1;
  termios raw{};
  ::cfmakeraw(&raw);
  REQUIRE(::openpty(&master, &slave, nullptr, &raw, nullptr) == 0);
  const os::UniqueFd reader(master);
  os::UniqueFd writer(slave);
  Driver agent({.out = writer.get(), .err = writer.get()});
  agent.hello({.out = {OutputMode::merge}, .err = {OutputMode::merge}});
  agent.send(msg::Status{"one"});
  agent.send(msg::Status{"two"});
  agent.program({"echo", "hi"});
  agent.start(0);
  agent.expect<msg::Printed>();
  agent.expect<msg::Exited>();
  agent.send(msg::Status{"three"});
  agent.finish();
  writer.reset();
  CHECK(read_all(reader.get()) == "one\r\x1b[Ktwo\r\x1b[Khi\n");
}

TEST_CASE("a status line is cut to the width of the terminal, between characters") {
  int master = -1;
  int slave = -1;
  termios raw{};
  ::cfmakeraw(&raw);
  const winsize size{.ws_row = 24, .ws_col = 8};
  REQUIRE(::openpty(&master, &slave, nullptr, &raw, &size) == 0);
  const os::UniqueFd reader(master);
  os::UniqueFd writer(slave);
  Driver agent({.out = writer.get(), .err = writer.get()});
  agent.hello({.out = {OutputMode::merge}, .err = {OutputMode::merge}});
  agent.send(msg::Status{"\u00fc\u00fc\u00fc\u00fc\u00fc"});
  agent.program({"echo", "hi"});
  agent.start(0);
  agent.expect<msg::Printed>();
  agent.expect<msg::Exited>();
  agent.finish();
  writer.reset();
  CHECK(read_all(reader.get()) == "\u00fc\u00fc\u00fc\r\x1b[Khi\n");
}

TEST_CASE("stdout and stderr on one pipe keep their lines whole") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get(), .err = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
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
  for (const auto& entry : counts) CHECK_MESSAGE(entry.second == 3000, entry.first);
}

TEST_CASE("a reader that pauses delays the ranks, loses nothing, and delays no report of an exit") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  constexpr int kLines = 400'000;
  agent.shell("seq 1 400000", 0);
  agent.shell("exit 3", 1);
  const pid_t writer = agent.start(0);
  // The pipe is full, and the writer waits in write(2).
  REQUIRE(eventually([&] { return is_full(out.first.get()) && state_of(writer) == 'S'; }));
  agent.start(1, 1);
  CHECK(agent.expect<msg::Exited>().value == 3);
  CHECK(agent.silent());
  std::string text;
  std::thread reader([&] { text = read_all(out.first.get()); });
  CHECK(agent.expect<msg::Exited>().task == 0);
  agent.finish();
  reader.join();
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == kLines);
  CHECK(lines.front() == "[0] 1");
  CHECK(lines.back() == "[0] 400000");
}

TEST_CASE("a reader that pauses does not delay the end if the launcher closes its socket") {
  for (const bool labelled : {false, true}) {
    os::FdPair out = os::make_pipe();
    Driver agent({.out = out.second.get()});
    out.second.reset();
    agent.hello(labelled ? Driver::labelled() : msg::Hello{});
    agent.program({"yes"});
    const pid_t writer = agent.start(0);
    REQUIRE(eventually([&] { return is_full(out.first.get()) && state_of(writer) == 'S'; }));
    agent.hang_up();
    CHECK(agent.wait(2000).value == 1);
    CHECK_FALSE(exists(writer));
  }
}

TEST_CASE("the remaining output is written at the end, even if it is read late") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  // A little less than the capacity of a pipe; with labels it is more than the sink takes.
  agent.shell("seq 1 12000");
  for (std::uint32_t rank = 0; rank < 3; ++rank) agent.start(rank);
  for (int rank = 0; rank < 3; ++rank) {
    // Each rank can write all its output into its own pipe.
    agent.expect<msg::Exited>();
  }
  agent.end();
  CHECK(agent.silent());
  const std::string text = read_all(out.first.get());
  CHECK(std::count(text.begin(), text.end(), '\n') == 3 * 12000);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("if the reader of labelled output has closed it, ranks get SIGPIPE") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  agent.program({"yes"});
  agent.start(0);
  read_line(out.first.get());
  out.first.reset();
  const auto lost = agent.expect<msg::OutputLost>();
  CHECK(lost.error == EPIPE);
  CHECK(lost.subject == "stdout");
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
    agent.hello(Driver::labelled());
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
  SUBCASE("the flags of the shared open file description are unchanged") {
    os::FdPair pipe = os::make_pipe();
    run(pipe.second.get());
    CHECK((::fcntl(pipe.second.get(), F_GETFL) & O_NONBLOCK) == 0);
    pipe.second.reset();
    CHECK(read_all(pipe.first.get()) == expected);
  }
}

TEST_CASE("each of 200 ranks has its line and its exit code") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello(Driver::labelled());
  agent.shell("echo rank $PMI_RANK; exit $PMI_RANK");
  msg::Start spawn{0, {}};
  std::vector<int> fds;
  const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (std::uint32_t rank = 0; rank < 200; ++rank) {
    spawn.ranks.push_back({.rank = rank, .fds = {9}});
    fds.push_back(null.get());
  }
  agent.send(spawn, fds);
  std::map<std::uint32_t, int> exits;
  int started = 0;
  while (exits.size() < 200) {
    const auto message = agent.receive();
    REQUIRE(message.has_value());
    if (const auto* exited = std::get_if<msg::Exited>(&*message)) exits[exited->task] = exited->value;
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

TEST_CASE("spawned process groups have labels of their own") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello({.out = {msg::OutputMode::merge}, .label = "[%r] ", .spawned_label = "[%g:%r] "});
  agent.shell("echo $PMI_RANK");
  agent.start(0);
  agent.expect<msg::Exited>();
  agent.add(Driver::group(1, 1));
  agent.start(msg::StartRank{.rank = 0}, {}, 1);
  agent.expect<msg::Exited>();
  agent.finish();
  CHECK(read_all(out.first.get()) == "[0] 0\n[1:0] 0\n");
}

TEST_CASE("the output of a spawned process group is joined if group 0 inherits its output") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.hello();
  agent.shell("[ -p /dev/stdout ] && printf 'unended %s' $PMI_RANK");
  agent.add(Driver::group(1, 2));
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    agent.start(msg::StartRank{.rank = rank}, {}, 1);
    agent.expect<msg::Exited>();
  }
  agent.finish();
  CHECK(read_all(out.first.get()) == "unended 0\nunended 1");
}

}  // namespace
