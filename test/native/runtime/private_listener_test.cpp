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

PrivateListener listen(os::Reactor& reactor, const std::vector<PrivateParent>& parents) {
  return listen_privately(reactor, parents, false, [](os::UniqueFd) {});
}

}  // namespace

TEST_CASE("private listener: the first folder that can be used is taken") {
  Folder good;
  Folder open;
  REQUIRE(::chmod(open.path.c_str(), 0777) == 0);
  os::Reactor reactor;
  const PrivateListener made =
      listen(reactor, {{"XDG_RUNTIME_DIR", "/nowhere"}, {"TMPDIR", open.path}, {"", good.path}});
  REQUIRE(made.directory != nullptr);
  CHECK(made.directory->path().starts_with(good.path + "/wireup-"));
  CHECK(std::get<wire::UnixAddress>(made.address).path == made.directory->path() + "/pmi");
  CHECK(std::filesystem::is_empty(open.path));
}

TEST_CASE("private listener: without such a folder the socket has an abstract name") {
  os::Reactor reactor;
  const PrivateListener made = listen(reactor, {{"XDG_RUNTIME_DIR", "/nowhere"}, {"", "/proc"}});
  CHECK(made.directory == nullptr);
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
  try {
    listen(reactor, {{"XDG_RUNTIME_DIR", "relative"}, {"TMPDIR", "/tmp"}});
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
