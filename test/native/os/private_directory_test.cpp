// Private folders for sockets, folders left by killed owners, and trusted folders.
#include "os/private_directory.h"

#include <sys/file.h>
#include <sys/wait.h>

#include <algorithm>
#include <memory>

#include "os/listener.h"
#include "os/support.h"
#include "os/trusted_folder.h"

namespace wireup::os {

using namespace test;

namespace {

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

void leave_dead_one(const std::string& path) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = SocketAddress::unix_path(path);
  REQUIRE(::bind(socket.get(), address.raw(), address.size()) == 0);
  REQUIRE(::listen(socket.get(), 1) == 0);
}

std::string make_folder(const std::string& path, mode_t mode = 0700) {
  REQUIRE(::mkdir(path.c_str(), 0700) == 0);
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  return path;
}

std::unique_ptr<PrivateDirectory> make(const std::string& parent) {
  std::string fault;
  auto made = PrivateDirectory::make(parent, false, fault);
  CHECK(fault == "");
  REQUIRE(made != nullptr);
  return made;
}

std::string fault_in(const std::string& parent) {
  std::string fault;
  CHECK(PrivateDirectory::make(parent, false, fault) == nullptr);
  return fault;
}

}  // namespace

TEST_CASE("private folder: has its mode under any umask, is reachable by path and by fd, and is removed") {
  TemporaryFolder folder;
  const mode_t before = ::umask(0777);
  const auto made = make(folder.path());
  std::string fault;
  const auto passable = PrivateDirectory::make(folder.path(), true, fault);
  ::umask(before);
  REQUIRE(passable != nullptr);
  struct stat status;
  REQUIRE(::lstat(made->path().c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
  REQUIRE(::lstat(passable->path().c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0711);
  {
    Reactor reactor;
    const Listener listener(reactor, SocketAddress::unix_path(made->socket_by_fd()), [](UniqueFd) {});
    CHECK(thrown_by([&] { connect_start(SocketAddress::unix_path(made->socket())); }) == 0);
  }
  CHECK(names_in(made->path()).empty());
}

TEST_CASE("private folder: if its parent is replaced, the replacement is not changed") {
  TemporaryFolder folder;
  const std::string parent = make_folder(folder / "parent");
  const std::string other = make_folder(folder / "other");
  auto made = make(parent);
  const std::string name = std::filesystem::path(made->path()).filename();
  REQUIRE(::rename(parent.c_str(), (folder / "moved").c_str()) == 0);
  std::filesystem::create_directory_symlink(other, parent);
  make_folder(other + "/" + name);
  {
    Reactor reactor;
    const Listener listener(reactor, SocketAddress::unix_path(made->socket_by_fd()), [](UniqueFd) {});
    CHECK(names_in(other + "/" + name).empty());
    CHECK(names_in(folder / "moved/" + name) == std::vector<std::string>{"pmi"});
  }
  made.reset();
  CHECK(names_in(folder / "moved").empty());
  CHECK(names_in(other) == std::vector<std::string>{name});
}

TEST_CASE("private folder: make() removes folders of killed owners, and no others") {
  TemporaryFolder folder;
  leave_dead_one(make_folder(folder / "wireup-dead01") + "/pmi");
  make_folder(folder / "wireup-empty1");  // killed before it made the socket
  write_file(make_folder(folder / "wireup-lock01") + "/pmi.lock", "",
             0600);  // killed while it bound the socket
  const std::string several = make_folder(folder / "wireup-dead02");
  for (const char* name : {"/pmi-0", "/pmi-1", "/pmi-77"}) leave_dead_one(several + name);
  leave_dead_one(make_folder(folder / "other") + "/pmi");
  make_folder(folder / "wireup-mine");          // not a name of wireup
  make_folder(folder / "wireup-open01", 0755);  // not a mode of wireup
  const std::string precious = make_folder(folder / "wireup-file01") + "/pmi";
  write_file(precious, "precious", 0600);
  const auto living = make(folder.path());
  { const auto next = make(folder.path()); }
  std::vector<std::string> stay{"other", "wireup-file01", "wireup-mine", "wireup-open01",
                                std::filesystem::path(living->path()).filename()};
  std::ranges::sort(stay);
  CHECK(names_in(folder.path()) == stay);
  CHECK(read_file(precious) == "precious");
}

TEST_CASE("private folder: if the owner is killed at any moment, the next make() removes everything") {
  TemporaryFolder folder;
  for (int i = 0; i < 200; ++i) {
    const pid_t owner = ::fork();
    REQUIRE(owner >= 0);
    if (owner == 0) {
      std::string fault;
      const auto made = PrivateDirectory::make(folder.path(), false, fault);
      Reactor reactor;
      const Listener listener(reactor, SocketAddress::unix_path(made->socket_by_fd()), [](UniqueFd) {});
      for (;;) ::pause();
    }
    // A later moment each time.
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(10 * i);
    while (std::chrono::steady_clock::now() < end) {
    }
    ::kill(owner, SIGKILL);
    REQUIRE(::waitpid(owner, nullptr, 0) == owner);
  }
  make(folder.path()).reset();
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("private folder: concurrent make() calls do not remove each other's folders") {
  TemporaryFolder folder;
  std::vector<pid_t> makers;
  for (int i = 0; i < 4; ++i) {
    makers.push_back(::fork());
    REQUIRE(makers.back() >= 0);
    if (makers.back() != 0) continue;
    for (int j = 0; j < 200; ++j) {
      std::string fault;
      const auto made = PrivateDirectory::make(folder.path(), false, fault);
      struct stat status;
      if (!made || ::lstat(made->path().c_str(), &status) < 0) ::_exit(1);
    }
    ::_exit(0);
  }
  for (const pid_t maker : makers) {
    int status = -1;
    REQUIRE(::waitpid(maker, &status, 0) == maker);
    CHECK(status == 0);
  }
  make(folder.path()).reset();
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("private folder: an unsuitable parent is reported with the reason") {
  TemporaryFolder folder;
  CHECK(fault_in(folder / "none") == folder / "none: No such file or directory");
  write_file(folder / "file", "", 0600);
  CHECK(fault_in(folder / "file") == folder / "file is no folder");
  CHECK(fault_in("tmp") == "it is not an absolute path");
  CHECK(fault_in("") == "it is not an absolute path");
  const std::string deep = make_folder(folder / std::string(100, 'x'));
  CHECK(fault_in(deep).starts_with("the path of a socket in it is too long: "));
  CHECK(names_in(deep).empty());
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  CHECK(fault_in(folder / "loop") == folder / "loop: Too many levels of symbolic links");
}

TEST_CASE("trusted folder: no folder on the way may be writable by others, unless it is sticky") {
  TemporaryFolder folder;
  const std::string outer = make_folder(folder / "outer");
  const std::string inner = make_folder(outer + "/inner");
  const struct {
    mode_t mode;
    bool trusted;
  } rows[] = {{0700, true},  {0755, true},  {01777, true}, {01770, true},
              {0777, false}, {0770, false}, {0702, false}};
  for (const auto& row : rows) {
    CAPTURE(row.mode);
    for (const std::string& changed : {outer, inner}) {
      REQUIRE(::chmod(changed.c_str(), row.mode) == 0);
      const TrustedFolder opened = open_trusted_folder(inner);
      CHECK(static_cast<bool>(opened.fd) == row.trusted);
      CHECK(opened.fault == (row.trusted ? "" : changed + " can be written by other users"));
      REQUIRE(::chmod(changed.c_str(), 0700) == 0);
    }
  }
}

TEST_CASE("trusted folder: checks the way through symbolic links too") {
  TemporaryFolder folder;
  const std::string bad = make_folder(folder / "bad", 0777);
  const std::string good = make_folder(folder / "good");
  make_folder(bad + "/in");
  std::filesystem::create_symlink("good/../bad", folder / "relative");
  std::filesystem::create_symlink(good, folder / "absolute");
  CHECK(open_trusted_folder(folder / "absolute").fault == "");
  CHECK(open_trusted_folder(folder / "./good/..//absolute/").fault == "");
  CHECK(open_trusted_folder(folder / "relative").fault == bad + " can be written by other users");
  CHECK(open_trusted_folder(folder / "relative/in").fault == bad + " can be written by other users");
  CHECK(open_trusted_folder(folder / "absolute/../bad/in").fault == bad + " can be written by other users");
}

TEST_CASE("trusted folder: refuses another user's folder or link" * doctest::skip(!is_root())) {
  TemporaryFolder folder;
  const std::string theirs = make_folder(folder / "theirs");
  make_folder(theirs + "/ours");
  REQUIRE(::chown(theirs.c_str(), kOtherUser, kOtherUser) == 0);
  const std::string fault = theirs + " belongs to uid " + std::to_string(kOtherUser);
  CHECK(open_trusted_folder(theirs).fault == fault);
  CHECK(open_trusted_folder(theirs + "/ours").fault == fault);
  const std::string link = folder / "link";
  std::filesystem::create_symlink(make_folder(folder / "good"), link);
  REQUIRE(::lchown(link.c_str(), kOtherUser, kOtherUser) == 0);
  CHECK(open_trusted_folder(link).fault == link + " belongs to uid " + std::to_string(kOtherUser));
  // That user trusts it.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool entered =
        ::chmod(folder.path().c_str(), 0755) == 0 && ::setresuid(kOtherUser, kOtherUser, kOtherUser) == 0;
    const std::string own = open_trusted_folder(theirs).fault;
    const bool roots = open_trusted_folder("/").fault.empty();
    ::_exit(entered && own.empty() && roots ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

}  // namespace wireup::os
