// The socket's file: starts, kills and concurrent starts of servers.
#include "os/socket_file.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "os/listener.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  return names;
}

// Leaves a bound socket file that no process has open, as a killed server does.
void leave_dead_socket(const std::string& path) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = SocketAddress::unix_path(path);
  REQUIRE(::bind(socket.get(), address.raw(), address.size()) == 0);
  REQUIRE(::listen(socket.get(), 1) == 0);
}

std::unique_ptr<Listener> listen_at(Reactor& reactor, const std::string& path) {
  return std::make_unique<Listener>(reactor, SocketAddress::unix_path(path), [](UniqueFd) {});
}

// A server in its own process. It sends 'l' if it listens, 'u' if the address is in use, and 'e' for any
// other error. Then it stays until it is killed, or asked to end.
struct Server {
  // With a gate it starts when all processes have closed the gate's write end.
  explicit Server(const std::string& path, FdPair* gate = nullptr) {
    FdPair pair = stream_pair();
    set_nonblocking(pair.first.get(), false);
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      pair.first.reset();
      if (gate != nullptr) {
        gate->second.reset();
        char byte = 0;
        if (::read(gate->first.get(), &byte, 1) != 0) ::_exit(9);
      }
      ::_exit(run(path, pair.second.get()));
    }
    channel = std::move(pair.first);
  }
  ~Server() { kill(); }

  static int run(const std::string& path, int channel) {
    Reactor reactor;
    std::unique_ptr<Listener> listener;
    char word = 'l';
    try {
      listener = std::make_unique<Listener>(reactor, SocketAddress::unix_path(path), [](UniqueFd) {});
    } catch (const OsError& error) {
      word = error.code().value() == EADDRINUSE ? 'u' : 'e';
    }
    if (::write(channel, &word, 1) != 1) return 1;
    char byte = 0;
    return ::read(channel, &byte, 1) == 1 ? 0 : 2;
  }

  char word() {
    char word = 0;
    return ::read(channel.get(), &word, 1) == 1 ? word : '-';
  }
  void leave() {
    REQUIRE(::write(channel.get(), "x", 1) == 1);
    wait();
  }
  void kill() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    wait();
  }
  void wait() {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    pid = -1;
  }

  pid_t pid = -1;
  UniqueFd channel;
};

bool answers(const std::string& path) {
  return thrown_by([&] { connect_start(SocketAddress::unix_path(path)); }) == 0;
}

}  // namespace

TEST_CASE("socket file: the file of a killed server is replaced") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  leave_dead_socket(path);
  Reactor reactor;
  auto listener = listen_at(reactor, path);
  CHECK(answers(path));
  CHECK(files_in(folder.path()) == std::vector<std::string>{"socket"});
  listener.reset();
  CHECK(files_in(folder.path()).empty());
}

TEST_CASE("socket file: the file of a living server is not replaced") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  Reactor reactor;
  const auto first = listen_at(reactor, path);
  struct stat before;
  REQUIRE(::lstat(path.c_str(), &before) == 0);
  CHECK(thrown_by([&] { listen_at(reactor, path); }) == std::pair<int, std::string>(EADDRINUSE, "bind"));
  struct stat after;
  REQUIRE(::lstat(path.c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(files_in(folder.path()) == std::vector<std::string>{"socket"});
}

TEST_CASE("socket file: a server with a full backlog, and files of other types, are not replaced") {
  TemporaryFolder folder;
  Reactor reactor;
  const SocketAddress full = SocketAddress::unix_path(folder / "full");
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(listener.get(), full.raw(), full.size()) == 0);
  REQUIRE(::listen(listener.get(), 0) == 0);
  const UniqueFd waiting = connect_start(full);
  CHECK(thrown_by([&] { connect_start(full); }) == EAGAIN);
  CHECK(thrown_by([&] { listen_at(reactor, folder / "full"); }) == EADDRINUSE);

  const SocketAddress datagrams = SocketAddress::unix_path(folder / "datagrams");
  const UniqueFd other(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(other.get(), datagrams.raw(), datagrams.size()) == 0);
  CHECK(thrown_by([&] { listen_at(reactor, folder / "datagrams"); }) == EADDRINUSE);

  write_file(folder / "file", "precious", 0600);
  std::filesystem::create_symlink(folder / "nowhere", folder / "link");
  CHECK(thrown_by([&] { listen_at(reactor, folder / "file"); }) == EADDRINUSE);
  CHECK(thrown_by([&] { listen_at(reactor, folder / "link"); }) == EADDRINUSE);
  CHECK(read_file(folder / "file") == "precious");
}

TEST_CASE("socket file: the dead socket of another user is not replaced" * doctest::skip(!is_root())) {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  leave_dead_socket(path);
  REQUIRE(::chown(path.c_str(), kOtherUser, kOtherUser) == 0);
  Reactor reactor;
  CHECK(thrown_by([&] { listen_at(reactor, path); }) == EADDRINUSE);
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("socket file: an existing lock file") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  const std::string lock = path + ".lock";
  Reactor reactor;
  write_file(lock, "", 0600);
  SUBCASE("its holder was killed") {
    const auto listener = listen_at(reactor, path);
    CHECK(files_in(folder.path()) == std::vector<std::string>{"socket"});
  }
  SUBCASE("its holder is slow") {
    const UniqueFd held(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::flock(held.get(), LOCK_EX) == 0);
    CHECK(thrown_by([&] { listen_at(reactor, path); }) == EADDRINUSE);
  }
  SUBCASE("it is a link to another file") {
    REQUIRE(::unlink(lock.c_str()) == 0);
    write_file(folder / "precious", "x", 0600);
    std::filesystem::create_symlink(folder / "precious", lock);
    CHECK(thrown_by([&] { listen_at(reactor, path); }) == ELOOP);
  }
}

TEST_CASE("socket file: the lock file of another user is refused" * doctest::skip(!is_root())) {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  write_file(path + ".lock", "", 0600);
  REQUIRE(::chown((path + ".lock").c_str(), kOtherUser, kOtherUser) == 0);
  Reactor reactor;
  CHECK(thrown_by([&] { listen_at(reactor, path); }) == EPERM);
  CHECK(std::filesystem::exists(path + ".lock"));
}

TEST_CASE("socket file: 1000 starts on one path, each killed or ended at any moment") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  std::uint32_t random = 1;
  int listened = 0;
  for (int i = 0; i < 1000; ++i) {
    CAPTURE(i);
    random = random * 1664525 + 1013904223;
    Server server(path);
    switch (random >> 30) {
      case 0:
        server.kill();  // before, while or after it listens
        break;
      case 1:
        CHECK(server.word() == 'l');
        server.leave();
        break;
      default:
        CHECK(server.word() == 'l');
        CHECK(answers(path));
        ++listened;
        server.kill();
        break;
    }
  }
  CHECK(listened > 400);
  Server last(path);
  CHECK(last.word() == 'l');
  last.kill();
  Reactor reactor;
  listen_at(reactor, path).reset();
  CHECK(files_in(folder.path()).empty());
}

TEST_CASE("socket file: of several concurrent starts, exactly one gets the path of a killed server") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  for (int i = 0; i < 100; ++i) {
    CAPTURE(i);
    if (i % 2 == 0) leave_dead_socket(path);
    FdPair gate = make_pipe();
    {
      std::array<std::optional<Server>, 3> starters;
      for (auto& starter : starters) starter.emplace(path, &gate);
      gate.second.reset();
      std::string words;
      for (auto& starter : starters) words += starter->word();
      std::ranges::sort(words);
      CHECK(words == "luu");
      CHECK(answers(path));
    }
    REQUIRE(std::filesystem::remove(path));
  }
  CHECK(files_in(folder.path()).empty());
}

TEST_CASE("socket file: the umask does not change the mode, and no link is followed") {
  TemporaryFolder folder;
  const std::string path = folder / "socket";
  Reactor reactor;
  const Listener listener(
      reactor, SocketAddress::unix_path(path), [](UniqueFd) {}, 0666);
  struct stat status;
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0666);
  write_file(folder / "precious", "x", 0600);
  std::filesystem::create_symlink(folder / "precious", folder / "link");
  CHECK(thrown_by([&] { set_socket_mode(folder / "link", 0666); }) == EPERM);
  CHECK(thrown_by([&] { set_socket_mode(folder / "precious", 0666); }) == EPERM);
  REQUIRE(::lstat((folder / "precious").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
}

}  // namespace wireup::os
