// Where a private socket is made if some of the folders for it cannot be used.
#include "runtime/private_listener.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "os/error.h"

namespace wireup::runtime {
namespace {

struct Folder {
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/place-XXXXXX";
};

PrivateFolder::Socket listen(PrivateFolder& folder, os::Reactor& reactor,
                             const std::vector<PrivateParent>& parents, std::string_view name = "pmi") {
  return folder.listen(reactor, parents, name, false, [](os::UniqueFd) {});
}

std::string path_of(const PrivateFolder::Socket& socket) {
  return std::get<wire::UnixAddress>(socket.address).path;
}

}  // namespace

TEST_CASE("private listener: the first folder that can be used is taken, and removed at the end") {
  Folder good;
  Folder open;
  REQUIRE(::chmod(open.path.c_str(), 0777) == 0);
  os::Reactor reactor;
  {
    std::string path;
    PrivateFolder folder([&](const std::string& made) { path = made; });
    const auto made =
        listen(folder, reactor, {{"XDG_RUNTIME_DIR", "/nowhere"}, {"TMPDIR", open.path}, {"", good.path}});
    CHECK(path.starts_with(good.path + "/wireup-"));
    CHECK(path_of(made) == path + "/pmi");
    CHECK(std::filesystem::is_empty(open.path));
  }
  CHECK(std::filesystem::is_empty(good.path));
}

TEST_CASE("private listener: several sockets are in one folder, and each ends for itself") {
  Folder parent;
  os::Reactor reactor;
  {
    int made = 0;
    PrivateFolder folder([&](const std::string&) { ++made; });
    const auto first = listen(folder, reactor, {{"", parent.path}}, "pmi-0");
    std::filesystem::path path = path_of(first);
    {
      const auto second = listen(folder, reactor, {{"", parent.path}}, "pmi-4294967295");
      CHECK(path_of(second) == path.parent_path() / "pmi-4294967295");
      CHECK(std::filesystem::exists(path_of(second)));
    }
    CHECK(made == 1);
    CHECK(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}) == 1);
    // Other users must reach a socket that is for them.
    const auto shared = folder.listen(reactor, {}, "pmi-2", true, [](os::UniqueFd) {});
    CHECK(std::filesystem::status(path.parent_path()).permissions() == std::filesystem::perms{0711});
    CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms{0600});
    CHECK(std::filesystem::status(path_of(shared)).permissions() == std::filesystem::perms{0666});
  }
  CHECK(std::filesystem::is_empty(parent.path));
}

TEST_CASE("private listener: without such a folder the socket has an abstract name") {
  os::Reactor reactor;
  bool any = false;
  PrivateFolder folder([&](const std::string&) { any = true; });
  const auto made = listen(folder, reactor, {{"XDG_RUNTIME_DIR", "/nowhere"}, {"", "/proc"}});
  CHECK_FALSE(any);
  const auto& address = std::get<wire::UnixAddress>(made.address);
  CHECK(address.abstract);
  CHECK(made.listener->address().text() == "@" + address.path);
}

TEST_CASE("private listener: if that fails too, the error gives each folder and the reason") {
  os::Reactor reactor;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  // UBSan opens a pipe when it checks the first object of a type.
  const os::OsError first(EMFILE, "open");
  REQUIRE(first.code().message() != first.what());
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  std::string message;
  PrivateFolder folder;
  try {
    listen(folder, reactor, {{"XDG_RUNTIME_DIR", "relative"}, {"TMPDIR", "/tmp"}});
    message = "nothing";
  } catch (const os::OsError& error) {
    message = error.what();
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(message.find("XDG_RUNTIME_DIR=relative: it is not an absolute path; ") != std::string::npos);
  CHECK(message.find("TMPDIR=/tmp: /: Too many open files; an abstract name): Too many open files") !=
        std::string::npos);
}

}  // namespace wireup::runtime
