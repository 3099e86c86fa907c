// The real wireup-tap between a program and a server that is this test: what the program finds, and what is
// left of its process.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/start_process.h"
#include "runtime/blocking.h"

namespace {

using namespace wireup;
using namespace wireup::test;

constexpr int kFd = 7;

// A rank under the tap. Its server is this test.
struct Rank {
  os::StartedProcess process;
  os::UniqueFd server;
  os::UniqueFd out;
  os::UniqueFd err;

  // 128 and more: the number of a signal.
  int wait() const {
    REQUIRE(wait_readable(process.pidfd.get()));
    os::ExitStatus status;
    REQUIRE(os::try_wait(process.pidfd.get(), status));
    return status.signaled ? 128 + status.value : status.value;
  }
};

// `channel`: what the rank inherits as kFd, if anything.
Rank start(std::vector<std::string> args, std::vector<std::string> environment, const os::UniqueFd& channel) {
  Rank rank;
  os::FdPair out = os::make_pipe();
  os::FdPair err = os::make_pipe();
  os::ProcessSpec spec;
  spec.path = WIREUP_TAP;
  spec.args = std::move(args);
  spec.args.insert(spec.args.begin(), "wireup-tap");
  spec.environment = std::move(environment);
  spec.environment.push_back("PATH=/usr/bin:/bin");
  const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  spec.fds = {{null.get(), 0}, {out.second.get(), 1}, {err.second.get(), 2}};
  if (channel) spec.fds.push_back({channel.get(), kFd});
  sigemptyset(&spec.ignored_signals);
  rank.process = os::start_process(spec);
  rank.out = std::move(out.first);
  rank.err = std::move(err.first);
  return rank;
}

Rank start(std::vector<std::string> args, const std::string& size = "1") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  os::UniqueFd server(ends[0]);
  const os::UniqueFd channel(ends[1]);
  Rank rank = start(std::move(args), {"PMI_FD=7", "PMI_RANK=0", "PMI_SIZE=" + size}, channel);
  rank.server = std::move(server);
  return rank;
}

// A server that ranks reach by PMI_PORT. Its address is of the abstract namespace.
class Port {
 public:
  Port() : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    // The kernel chooses the name.
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address.sun_family) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const std::size_t length = size - offsetof(sockaddr_un, sun_path) - 1;
    name = "unix://@" + std::string(address.sun_path + 1, length);
    REQUIRE(::listen(socket_.get(), 1) == 0);
  }

  bool has_client(int timeout_ms = kTimeoutMs) const { return wait_readable(socket_.get(), timeout_ms); }

  os::UniqueFd accept() const {
    REQUIRE(has_client());
    return os::UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  // A rank whose launcher sets PMI_PORT and PMI_ID, and also `more`.
  Rank start_rank(std::vector<std::string> args, std::vector<std::string> more,
                  const std::string& id = "1804289383") const {
    more.push_back("PMI_PORT=" + name);
    more.push_back("PMI_ID=" + id);
    return start(std::move(args), std::move(more), {});
  }

  void close() { socket_.reset(); }

  std::string name;

 private:
  os::UniqueFd socket_;
};

// The lines of a recording on stderr, without times.
std::string without_times(const std::string& text) {
  std::string result;
  for (const std::string& line : lines_of(text)) result += line.substr(line.find(' ') + 1) + "\n";
  return result;
}

std::vector<std::string> shell(const std::string& script) {
  return {"--trace-file", "/dev/null", "--", "sh", "-c", script};
}

std::string reply(const Rank& rank, const std::string& text) {
  const std::string request = read_line(rank.server.get());
  write_all(rank.server.get(), text);
  return request;
}

TEST_CASE("the program has the process, the descriptor, and no child") {
  const Rank rank =
      start(shell("echo cmd=init >&$PMI_FD; read answer <&$PMI_FD;"
                  "echo $answer $PMI_FD $$; cat /proc/$$/task/$$/children; echo end; exit 9"));
  CHECK(reply(rank, "hello\n") == "cmd=init");
  const std::string pid = std::to_string(rank.process.pid);
  // `cat` itself is the only child of the shell.
  const auto lines = lines_of(read_all(rank.out.get()));
  REQUIRE(!lines.empty());
  CHECK(lines.front() == "hello 7 " + pid);
  CHECK(lines.back().ends_with("end"));
  std::string children;
  for (std::size_t i = 1; i < lines.size(); ++i) children += lines[i];
  CHECK(std::count(children.begin(), children.end(), ' ') <= 1);
  CHECK(rank.wait() == 9);
  CHECK(read_all(rank.err.get()) == "");
  CHECK(read_all(rank.server.get()) == "");
}

TEST_CASE("lines of text go to stderr, and stderr ends with the program") {
  const Rank rank = start({"sh", "-c", "echo cmd=init >&$PMI_FD; read answer <&$PMI_FD"});
  CHECK(reply(rank, "hello\n") == "cmd=init");
  CHECK(rank.wait() == 0);
  std::string text;
  for (const std::string& line : lines_of(read_all(rank.err.get())))
    text += line.substr(line.find(' ') + 1).substr(0, 20) + "\n";
  CHECK(text.find("0: C: cmd=init\n0: S: hello\n0: closed") != std::string::npos);
}

TEST_CASE("stdout ends with the program, also if the server keeps the connection") {
  const Rank rank = start(shell("echo done; exec >&-; read answer <&$PMI_FD; exit 3"));
  CHECK(read_all(rank.out.get()) == "done\n");
  write_all(rank.server.get(), "go\n");
  CHECK(rank.wait() == 3);
}

TEST_CASE("a program that a signal kills is reported so, and its server sees the end") {
  const Rank rank = start(shell("printf half >&$PMI_FD; kill -SEGV $$"));
  CHECK(rank.wait() == 128 + SIGSEGV);
  CHECK(read_all(rank.server.get()) == "half");
}

TEST_CASE("a child of the program keeps the connection, as without the tap") {
  const Rank rank = start(shell("(read line <&$PMI_FD; echo $line >&$PMI_FD) & exit 0"));
  CHECK(rank.wait() == 0);
  write_all(rank.server.get(), "still there\n");
  CHECK(read_line(rank.server.get()) == "still there");
  CHECK(read_all(rank.server.get()) == "");
}

TEST_CASE("a signal that waits for the caller is the only one that the program finds") {
  // The shell cannot show pending signals; /proc can.
  const Rank rank = start(shell("grep -E 'SigPnd|ShdPnd|SigBlk|SigIgn' /proc/self/status"));
  for (const std::string& line : lines_of(read_all(rank.out.get()))) {
    CAPTURE(line);
    CHECK(line.ends_with("0000000000000000"));
  }
  CHECK(rank.wait() == 0);
}

TEST_CASE("a program without PMI, and one whose PMI_FD is not open, run as they would") {
  const auto failure_of = [](const std::string& variable, const std::string& option) {
    os::FdPair out = os::make_pipe();
    os::ProcessSpec spec;
    spec.path = WIREUP_TAP;
    spec.args = {"wireup-tap", option, "--", "sh", "-c", "echo fd=$PMI_FD; exit 5"};
    spec.environment = {"PATH=/usr/bin:/bin", variable};
    const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    spec.fds = {{null.get(), 0}, {out.second.get(), 1}, {out.second.get(), 2}};
    sigemptyset(&spec.ignored_signals);
    const os::StartedProcess process = os::start_process(spec);
    out.second.reset();
    const std::string text = read_all(out.first.get());
    REQUIRE(wait_readable(process.pidfd.get()));
    os::ExitStatus status;
    REQUIRE(os::try_wait(process.pidfd.get(), status));
    CHECK(status.value == 5);
    return text;
  };
  CHECK(failure_of("X=", "--trace-secrets") == "fd=\n");
  CHECK(failure_of("X=", "-v") ==
        "wireup tap: neither PMI_FD nor PMI_PORT is set; the program runs without a recording\nfd=\n");
  const std::string runs = "; the program runs without a recording\n";
  CHECK(failure_of("PMI_FD=99", "--trace-secrets") ==
        "wireup tap: PMI_FD is 99, which is no open socket" + runs + "fd=99\n");
  CHECK(failure_of("PMI_FD=1", "--trace-secrets") ==
        "wireup tap: PMI_FD is 1, which is no open socket" + runs + "fd=1\n");
  CHECK(failure_of("PMI_FD=x", "--trace-secrets") ==
        "wireup tap: PMI_FD is \"x\", which is no descriptor" + runs + "fd=x\n");
  CHECK(failure_of("PMI_PORT=unix:///no/such/socket", "-v").starts_with("wireup tap: PMI_PORT is set, but"));
}

constexpr char kInitack[] = "cmd=initack rc=0\ncmd=set size=4\ncmd=set rank=2\ncmd=set debug=0\n";
// sh may not accept a descriptor of two digits.
constexpr char kAsk[] = "echo cmd=init >&$PMI_FD; read answer <&$PMI_FD; echo $answer $PMI_RANK/$PMI_SIZE";

TEST_CASE("the server behind PMI_PORT sees a connection when the program sends, not before") {
  const Port port;
  const Rank rank = port.start_rank({"bash", "-c", std::string("echo runs; kill -STOP $$;") + kAsk},
                                    {"PMI_RANK=2", "PMI_SIZE=4"});
  CHECK(read_line(rank.out.get()) == "runs");
  CHECK(!port.has_client(0));
  // The shell has stopped, or stops and is continued at once.
  REQUIRE(eventually([&] {
    ::kill(rank.process.pid, SIGCONT);
    return port.has_client(0);
  }));
  const os::UniqueFd server = port.accept();
  CHECK(read_line(server.get()) == "cmd=initack pmiid=1804289383");
  write_all(server.get(), kInitack);
  CHECK(read_line(server.get()) == "cmd=init");
  write_all(server.get(), "hello\n");
  CHECK(read_line(rank.out.get()) == "hello 2/4");
  CHECK(rank.wait() == 0);
  const std::string recording = without_times(read_all(rank.err.get()));
  CHECK(recording.starts_with("2: connected unix"));
  CHECK(recording.find("2: C: cmd=initack pmiid=***\n2: S: cmd=initack rc=0\n") != std::string::npos);
  CHECK(recording.find("2: C: cmd=init\n2: S: hello\n2: closed") != std::string::npos);
}

TEST_CASE("a program that sends nothing makes no connection to PMI_PORT") {
  const Port port;
  const Rank rank = port.start_rank({"sh", "-c", "exit 3"}, {"PMI_RANK=2", "PMI_SIZE=4"});
  CHECK(rank.wait() == 3);
  // The proxy holds stderr until it ends.
  CHECK(read_all(rank.err.get()) == "");
  CHECK(!port.has_client(0));
}

TEST_CASE("without PMI_RANK and PMI_SIZE of its launcher, the program waits for the server") {
  // Hydra's PMI_IDs are ranks. The rank and the size may be those of a launcher around it.
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"1804289383", {}}, {"1804289383", {"PMI_RANK=4", "PMI_SIZE=4"}}, {"2", {"PMI_RANK=0", "PMI_SIZE=1"}}};
  for (const auto& [id, variables] : cases) {
    const Port port;
    const Rank rank = port.start_rank({"bash", "-c", kAsk}, variables, id);
    const os::UniqueFd server = port.accept();
    CHECK(read_line(server.get()) == "cmd=initack pmiid=" + id);
    write_all(server.get(), kInitack);
    CHECK(read_line(server.get()) == "cmd=init");
    write_all(server.get(), "hello\n");
    CHECK(read_line(rank.out.get()) == "hello 2/4");
    CHECK(rank.wait() == 0);
  }
}

TEST_CASE("a server that cannot be reached any more: the program finds the end, the recording why") {
  Port port;
  const std::string name = port.name;
  port.close();
  const Rank rank =
      port.start_rank({"bash", "-c", std::string(kAsk) + "; exit 4"}, {"PMI_RANK=2", "PMI_SIZE=4"});
  CHECK(rank.wait() == 4);
  CHECK(read_all(rank.out.get()) == "2/4\n");
  const std::string recording = without_times(read_all(rank.err.get()));
  CHECK(recording.starts_with("2: refused unix"));
  CHECK(recording.find("cannot connect to the PMI server at " + name) != std::string::npos);
  CHECK(recording.ends_with("2: C: cmd=init\n"));
}

TEST_CASE("a server that refuses PMI_ID, or knows it as another rank: the program finds the end") {
  for (const std::string reply :
       {"", "cmd=initack rc=0\ncmd=set size=4\ncmd=set rank=1\ncmd=set debug=0\n"}) {
    const Port port;
    const Rank rank = port.start_rank({"bash", "-c", kAsk}, {"PMI_RANK=2", "PMI_SIZE=4"});
    {
      const os::UniqueFd server = port.accept();
      CHECK(read_line(server.get()) == "cmd=initack pmiid=1804289383");
      write_all(server.get(), reply);
      if (!reply.empty()) CHECK(read_all(server.get()) == "");
    }
    CHECK(read_all(rank.out.get()) == "2/4\n");
    const std::string recording = without_times(read_all(rank.err.get()));
    CHECK(recording.starts_with("2: C: cmd=initack pmiid=***\n"));
    CHECK(recording.find(reply.empty()
                             ? "refused us"
                             : "this is rank 1 of 4, but the program has PMI_RANK=2") != std::string::npos);
  }
}

TEST_CASE("wrong use, files that cannot be written, and programs that cannot run are reported") {
  const auto check = [](std::vector<std::string> args, int code, const std::string& text) {
    const Rank rank = start(std::move(args), "2");
    CHECK(rank.wait() == code);
    CHECK(read_all(rank.err.get()) == "wireup tap: " + text + "\n");
    CHECK(read_all(rank.out.get()) == "");
  };
  check({}, 2, "which program? Usage: wireup tap [options] [--] <program> [args...] (see --help)");
  check({"--no-such", "true"}, 2, "unknown option '--no-such' (see --help)");
  check({"--trace-file"}, 2, "option '--trace-file': a value is missing (see --help)");
  check({"--verbose=1", "true"}, 2, "option '--verbose' takes no value (see --help)");
  check({"--trace-file", "one.json", "true"}, 2,
        "--trace-file 'one.json': the ranks of this job would write to the same file; use %r or %p");
  check({"--trace-file=/no/such/folder/%r", "true"}, 1,
        "cannot write the recording /no/such/folder/0: No such file or directory");
  check({"no-such-program"}, 127, "cannot run no-such-program: No such file or directory");
  check({"/etc/passwd"}, 126, "cannot run /etc/passwd: Permission denied");
}

}  // namespace
