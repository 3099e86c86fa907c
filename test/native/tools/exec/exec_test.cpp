// Runs the real wireup-exec against an engine::ProcessGroup behind a small server, over every transport.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/process_group.h"
#include "os/fd.h"
#include "os/peer.h"
#include "os/socket_address.h"
#include "os/start_process.h"
#include "runtime/blocking.h"

namespace {

using namespace wireup;
using namespace wireup::test;

constexpr std::uint32_t kToken = 1804289383;

struct TemporaryFolder {
  TemporaryFolder() {
    char name[] = "/tmp/wireup-exec-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~TemporaryFolder() { ::rmdir(path.c_str()); }
  std::string path;
};

os::UniqueFd listen_at(const os::SocketAddress& address) {
  os::UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(socket);
  REQUIRE(::bind(socket.get(), address.raw(), address.size()) == 0);
  REQUIRE(::listen(socket.get(), 8) == 0);
  return socket;
}

// Serves a process group of three ranks, one connection after the other. The PMI_ID of rank 2 is kToken.
class Server {
 public:
  explicit Server(os::UniqueFd listener) : listener_(std::move(listener)), wake_(os::make_pipe()) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    wake_.second.reset();
    thread_.join();
  }

 private:
  void serve() {
    engine::ProcessGroupOptions options;
    options.kvsname = "kvs";
    options.layout = engine::Layout::single_node(3);
    options.auth.allowed_uids = {static_cast<std::uint32_t>(::getuid())};
    options.auth.pmi_ids = {1, 2, kToken};
    engine::ProcessGroup group(std::move(options));
    std::map<engine::ConnectionId, os::UniqueFd> connections;
    engine::ConnectionId next = 0;
    engine::Effects effects;
    for (;;) {
      std::vector<pollfd> entries{{wake_.first.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      std::vector<engine::ConnectionId> ids{0, 0};
      for (const auto& [id, socket] : connections) {
        entries.push_back({socket.get(), POLLIN, 0});
        ids.push_back(id);
      }
      if (::poll(entries.data(), entries.size(), -1) < 0) continue;
      if (entries[0].revents != 0) return;
      if (entries[1].revents != 0) {
        const engine::ConnectionId id = next++;
        connections[id] = os::UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        engine::Peer peer;
        peer.transport = engine::Transport::unix_socket;
        peer.uid = ::getuid();
        group.accept(id, peer, std::chrono::steady_clock::now(), effects);
      }
      for (std::size_t i = 2; i < entries.size(); ++i) {
        if (entries[i].revents == 0) continue;
        char buffer[4096];
        const ssize_t size = ::recv(entries[i].fd, buffer, sizeof(buffer), 0);
        if (size > 0) {
          group.receive(ids[i], {buffer, static_cast<std::size_t>(size)}, effects);
        } else {
          group.eof(ids[i], effects);
          connections.erase(ids[i]);
        }
      }
      for (const engine::Effect& effect : effects.list()) {
        if (const auto* send = engine::as<engine::Send>(effect)) {
          const std::string_view bytes = effects.bytes(*send);
          ::send(connections[send->connection].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        } else if (const auto* close = engine::as<engine::Close>(effect)) {
          connections.erase(close->connection);
        }
      }
      effects.clear();
    }
  }

  os::UniqueFd listener_;
  os::FdPair wake_;
  std::thread thread_;
};

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

Result run(std::vector<std::string> args, std::vector<std::string> environment,
           std::vector<std::pair<int, int>> more_fds = {}, bool without_stdin = false) {
  os::FdPair out = os::make_pipe();
  os::FdPair err = os::make_pipe();
  os::ProcessSpec spec;
  spec.path = WIREUP_EXEC;
  spec.args = std::move(args);
  spec.args.insert(spec.args.begin(), "wireup-exec");
  spec.environment = std::move(environment);
  spec.environment.push_back("PATH=/usr/bin:/bin");
  spec.fds = std::move(more_fds);
  const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!without_stdin) spec.fds.emplace_back(null.get(), 0);
  spec.fds.emplace_back(out.second.get(), 1);
  spec.fds.emplace_back(err.second.get(), 2);
  sigemptyset(&spec.ignored_signals);
  const os::StartedProcess process = os::start_process(spec);
  out.second.reset();
  err.second.reset();
  Result result;
  result.out = read_all(out.first.get());
  result.err = read_all(err.first.get());
  REQUIRE(wait_readable(process.pidfd.get()));
  os::ExitStatus status;
  REQUIRE(os::try_wait(process.pidfd.get(), status));
  result.code = status.signaled ? -status.value : status.value;
  CHECK(result.err.find(std::to_string(kToken)) == std::string::npos);
  return result;
}

// A failure is one line that begins with the name of the program.
void check_failure(const Result& result, int code, const std::string& word) {
  CAPTURE(result.err);
  CHECK(result.code == code);
  CHECK(result.out.empty());
  CHECK(result.err.starts_with("wireup-exec: "));
  CHECK(result.err.find(word) != std::string::npos);
  CHECK(result.err.find('\n') == result.err.size() - 1);
}

const std::string kPmiId = "PMI_ID=" + std::to_string(kToken);

// Uses PMI on PMI_FD with blocking reads, as an unmodified client does.
constexpr char kRank[] =
    "echo \"$PMI_RANK/$PMI_SIZE ${PMI_PORT-none} ${PMI_ID-none}\";"
    "echo 'cmd=init pmi_version=1 pmi_subversion=1' >&$PMI_FD; read line <&$PMI_FD; echo \"$line\";"
    "echo 'cmd=get_my_kvsname' >&$PMI_FD; read line <&$PMI_FD; echo \"$line\"";
constexpr char kRankSays[] =
    "2/3 none none\n"
    "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"
    "cmd=my_kvsname kvsname=kvs\n";

TEST_CASE("a program that supports only PMI_FD runs over every transport") {
  TemporaryFolder folder;
  const std::string path = folder.path + "/pmi.sock";
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  struct Case {
    os::SocketAddress address;
    std::string port;
  };
  const Case cases[] = {
      {*os::SocketAddress::numeric("127.0.0.1", 0), "127.0.0.1:"},
      {*os::SocketAddress::numeric("127.0.0.1", 0), "tcp://localhost:"},
      {*os::SocketAddress::numeric("::1", 0), "tcp://[::1]:"},
      {os::SocketAddress::unix_path(path), "unix://" + path},
      {os::SocketAddress::unix_path(path), path},
      {os::SocketAddress::unix_abstract(name), "unix://@" + name},
  };
  for (const Case& one : cases) {
    os::UniqueFd listener = listen_at(one.address);
    std::string port = one.port;
    if (one.address.family() != AF_UNIX) {
      port += std::to_string(os::SocketAddress::of_local(listener.get()).port());
    }
    CAPTURE(port);
    {
      const Server server(std::move(listener));
      // The program must not get the PMI_FD of the environment.
      const Result result =
          run({"bash", "-c", kRank}, {"PMI_PORT=" + port, kPmiId, "PMI_FD=77", "PMI_SIZE=9"});
      CHECK(result.code == 0);
      CHECK(result.err == "");
      CHECK(result.out == kRankSays);
    }
    ::unlink(path.c_str());
  }
}

TEST_CASE("the program has its standard fds and the PMI socket, which is blocking, and no others") {
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  const Server server(listen_at(os::SocketAddress::unix_abstract(name)));
  const std::vector<std::string> environment{"PMI_PORT=unix://@" + name, kPmiId};
  // 3 is the folder that ls itself has open.
  const Result result =
      run({"sh", "-c", "echo $(ls /proc/self/fd); cat /proc/self/fdinfo/$PMI_FD"}, environment);
  CHECK(result.code == 0);
  CHECK(result.out.find("flags:\t02\n") != std::string::npos);
  const Result bare = run({"sh", "-c", "echo $(ls /proc/self/fd)"}, {});
  CHECK(bare.out == "0 1 2 3\n");
  CHECK(result.out.starts_with("0 1 2 20 3\n"));
}

TEST_CASE("a closed stdin does not become the PMI socket") {
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  const Server server(listen_at(os::SocketAddress::unix_abstract(name)));
  const Result result = run({"sh", "-c", "test $PMI_FD -gt 2 && ! test -e /proc/self/fd/0 && echo good"},
                            {"PMI_PORT=unix://@" + name, kPmiId}, {}, true);
  CHECK(result.err == "");
  CHECK(result.out == "good\n");
}

TEST_CASE("without PMI_PORT the program runs with an unchanged environment") {
  CHECK(run({"sh", "-c", "echo ${PMI_FD-none}$PMI_RANK"}, {}).out == "none\n");
  const Result result =
      run({"sh", "-c", "echo $PMI_FD $PMI_RANK $PMI_ID; exit 9"}, {"PMI_FD=5", "PMI_RANK=1", "PMI_ID=3"});
  CHECK(result.code == 9);
  CHECK(result.out == "5 1 3\n");
  CHECK(result.err.empty());
}

TEST_CASE("--help, --version and wrong use") {
  const Result help = run({"--help"}, {});
  CHECK(help.code == 0);
  CHECK(help.out.starts_with("Usage: wireup-exec "));
  const Result version = run({"--version"}, {});
  CHECK(version.code == 0);
  CHECK(version.out == "0.1.0\n");
  check_failure(run({}, {}), 2, "which program");
  check_failure(run({"--bogus"}, {}), 2, "--bogus");
  check_failure(run({"--timeout"}, {}), 2, "--timeout");
  check_failure(run({"--timeout", "5"}, {}), 2, "which program");
  for (const char* seconds : {"0", "-1", "1.5", "5s", "", "86401", "99999999999"}) {
    check_failure(run({"--timeout", seconds, "true"}, {}), 2, "--timeout");
  }
  CHECK(run({"--timeout", "5", "--", "sh", "-c", "echo fine"}, {}).out == "fine\n");
  CHECK(run({"--", "sh", "-c", "echo $0", "--help"}, {}).out == "--help\n");
}

TEST_CASE("a missing or not executable program is reported before the connect") {
  // No server listens at this address.
  const std::vector<std::string> environment{"PMI_PORT=unix:///no/such/server", kPmiId};
  check_failure(run({"no-such-program"}, environment), 127, "no-such-program");
  check_failure(run({"/etc/passwd"}, environment), 126, "/etc/passwd");
}

TEST_CASE("a server that cannot be reached is reported") {
  os::UniqueFd listener = listen_at(*os::SocketAddress::numeric("127.0.0.1", 0));
  const std::string port = "127.0.0.1:" + std::to_string(os::SocketAddress::of_local(listener.get()).port());
  listener.reset();
  check_failure(run({"true"}, {"PMI_PORT=" + port, kPmiId}), 1, port);
  check_failure(run({"true"}, {"PMI_PORT=unix:///no/such/socket", kPmiId}), 1, "unix:///no/such/socket");
  check_failure(run({"true"}, {"PMI_PORT=unix://@no-such-name", kPmiId}), 1, "unix://@no-such-name");
  check_failure(run({"true"}, {"PMI_PORT=no.such.host.invalid:5000", kPmiId}), 1, "no.such.host.invalid");
  check_failure(run({"true"}, {"PMI_PORT=nonsense", kPmiId}), 1, "nonsense");
  check_failure(run({"true"}, {"PMI_PORT=127.0.0.1:99999", kPmiId}), 1, "PMI_PORT");
  check_failure(run({"true"}, {"PMI_PORT=127.0.0.1:5000"}), 1, "PMI_ID is not");
}

TEST_CASE("a refused PMI_ID, a server that hangs up, and a server of another protocol are reported") {
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  const std::string port = "PMI_PORT=unix://@" + name;
  {
    const Server server(listen_at(os::SocketAddress::unix_abstract(name)));
    check_failure(run({"true"}, {port, "PMI_ID=12345"}), 1, "refused");
    // The server still accepts the right PMI_ID.
    CHECK(run({"true"}, {port, kPmiId}).code == 0);
  }
  const auto against = [&](const std::string& answer) {
    const os::UniqueFd listener = listen_at(os::SocketAddress::unix_abstract(name));
    std::thread server([&] {
      const os::UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char buffer[256];
      if (!answer.empty()) (void)!::recv(client.get(), buffer, sizeof(buffer), 0);
      (void)!::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
    const Result result = run({"true"}, {port, kPmiId});
    server.join();
    return result;
  };
  check_failure(against(""), 1, "unix://@" + name);
  check_failure(against("HTTP/1.1 400 Bad Request\r\n\r\n"), 1, "not a PMI-1 server");
  check_failure(against("cmd=initack\ncmd=set si"), 1, "unix://@" + name);
}

TEST_CASE("a silent server is reported after --timeout") {
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  const os::UniqueFd listener = listen_at(os::SocketAddress::unix_abstract(name));
  // A connect succeeds even if the listener never accepts.
  check_failure(run({"--timeout", "1", "true"}, {"PMI_PORT=unix://@" + name, kPmiId}), 1, "does not answer");
  const os::UniqueFd tcp = listen_at(*os::SocketAddress::numeric("127.0.0.1", 0));
  const std::string port = "127.0.0.1:" + std::to_string(os::SocketAddress::of_local(tcp.get()).port());
  check_failure(run({"--timeout", "1", "true"}, {"PMI_PORT=" + port, kPmiId}), 1, "does not answer");
}

TEST_CASE("a PMI_ID of 128 bits is sent unchanged") {
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  const os::UniqueFd listener = listen_at(os::SocketAddress::unix_abstract(name));
  const std::string id = "00112233445566778899aabbccddeeff";
  std::string received;
  std::thread server([&] {
    const os::UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char buffer[256];
    const ssize_t size = ::recv(client.get(), buffer, sizeof(buffer), 0);
    received.assign(buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    constexpr std::string_view answer =
        "cmd=initack rc=0 rank=4\ncmd=set rank=4\ncmd=set size=9\ncmd=set debug=0\n";
    (void)!::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  });
  const Result result =
      run({"sh", "-c", "echo $PMI_RANK of $PMI_SIZE"}, {"PMI_PORT=unix://@" + name, "PMI_ID=" + id});
  server.join();
  CHECK(received == "cmd=initack pmiid=" + id + "\n");
  CHECK(result.out == "4 of 9\n");
  CHECK(result.err == "");
}

TEST_CASE("a server of another user gets no bytes") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  const std::string name = "wireup-exec-test-" + std::to_string(::getpid());
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    os::FdPair ready = os::make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
      // The kernel reports the user that called listen(), or that made the socket.
      if (::setuid(65534) != 0) ::_exit(1);
      const os::SocketAddress address =
          tcp ? *os::SocketAddress::numeric("127.0.0.1", 0) : os::SocketAddress::unix_abstract(name);
      const int listener = ::socket(address.family(), SOCK_STREAM, 0);
      if (::bind(listener, address.raw(), address.size()) != 0 || ::listen(listener, 1) != 0) ::_exit(1);
      const std::uint16_t port = os::SocketAddress::of_local(listener).port();
      (void)!::write(ready.second.get(), &port, sizeof port);
      const int client = ::accept(listener, nullptr, nullptr);
      char buffer[256];
      const ssize_t size = ::recv(client, buffer, sizeof(buffer), 0);
      ::_exit(size == 0 ? 42 : 43);
    }
    REQUIRE(wait_readable(ready.first.get()));
    std::uint16_t port = 0;
    REQUIRE(::read(ready.first.get(), &port, sizeof port) == sizeof port);
    const std::string where = tcp ? "127.0.0.1:" + std::to_string(port) : "unix://@" + name;
    check_failure(run({"true"}, {"PMI_PORT=" + where, kPmiId}), 1, "uid 65534");
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 42);
  }
}

}  // namespace
