#include "runtime/job_socket.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "os/error.h"
#include "os/socket_address.h"
#include "runtime/blocking.h"

using namespace wireup;
using namespace wireup::runtime;

namespace {

struct Folder {
  Folder() { path = ::mkdtemp(pattern.data()); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string pattern = "/tmp/job-socket-XXXXXX";
  std::string path;
};

}  // namespace

TEST_CASE("a job socket takes one question of a connection, and closes it after the last reply") {
  const Folder folder;
  os::Reactor reactor;
  std::vector<std::string> questions;
  JobSocket* asked = nullptr;
  bool gone = false;
  JobSocket socket(
      reactor, {{"", folder.path}},
      [&](JobSocket::ConnectionId connection, std::string question) {
        questions.push_back(std::move(question));
        asked->reply(connection, "one\n", false);
        asked->reply(connection, "two\n", true);
        asked->reply(connection, "three\n", true);
      },
      [&](JobSocket::ConnectionId) { gone = true; });
  asked = &socket;
  CHECK(socket.path().starts_with(folder.path + "/wireup-"));
  CHECK(socket.path().ends_with("/pmi-job" + std::to_string(::getpid())));
  struct stat status;
  REQUIRE(::stat(socket.path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);

  const os::UniqueFd client = os::connect_start(os::SocketAddress::unix_path(socket.path()));
  const std::string text = "who?\nmore\n";
  REQUIRE(::write(client.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  std::string received;
  const auto read = [&] {
    char bytes[64];
    const ssize_t size = ::read(client.get(), bytes, sizeof bytes);
    if (size > 0) received.append(bytes, static_cast<std::size_t>(size));
    if (size == 0) reactor.stop();
  };
  std::function<void()> poll = [&] {
    read();
    reactor.after(std::chrono::milliseconds(1), poll);
  };
  poll();
  reactor.run();
  CHECK(received == "one\ntwo\n");
  CHECK(questions == std::vector<std::string>{"who?"});
  CHECK_FALSE(gone);
}

TEST_CASE("a job socket names each folder that it cannot use") {
  os::Reactor reactor;
  try {
    const JobSocket socket(reactor, {{"", "/no/such/folder"}, {"", "relative"}}, nullptr, nullptr);
    FAIL("it listens");
  } catch (const os::OsError& error) {
    const std::string text = error.what();
    CHECK(text.find("/no/such/folder: ") != std::string::npos);
    CHECK(text.find("relative: it is not an absolute path") != std::string::npos);
  }
}
