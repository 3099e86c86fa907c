// Files that are written atomically: what a reader sees, and what a killed writer leaves.
#include "os/whole_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

std::size_t count_in(const std::string& folder) {
  const auto entries = std::filesystem::directory_iterator(folder);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

}  // namespace

TEST_CASE("whole file: makes a new file, and replaces an old one, which keeps its mode") {
  const TemporaryFolder folder;
  const std::string path = folder / "result";
  write_whole(path, "new");
  CHECK(read_file(path) == "new");
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  write_whole(path, "newer");
  CHECK(read_file(path) == "newer");
  CHECK(mode_of(path) == 0600);
  CHECK(count_in(folder.path()) == 1);
}

TEST_CASE("whole file: keeps a symbolic link and writes its target, even if that does not exist") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "far");
  const std::string link = folder / "link";
  const std::string target = folder / "far/target";
  std::filesystem::create_symlink("far/hop", link);
  std::filesystem::create_symlink(target, folder / "far/hop");
  write_whole(link, "one");
  CHECK(read_file(target) == "one");
  write_whole(link, "two");
  CHECK(read_file(target) == "two");
  CHECK(std::filesystem::is_symlink(link));
  CHECK(std::filesystem::is_symlink(folder / "far/hop"));
  CHECK(count_in(folder / "far") == 2);

  const std::string loop = folder / "loop";
  std::filesystem::create_symlink("loop", loop);
  CHECK_THROWS_AS(write_whole(loop, "x"), OsError);
}

TEST_CASE("whole file: appends to an open file of a process") {
  const TemporaryFolder folder;
  const std::string path = folder / "log";
  write_whole(path, "written before; ");
  struct stat before {};
  REQUIRE(::stat(path.c_str(), &before) == 0);
  const UniqueFd open(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  write_whole("/proc/self/fd/" + std::to_string(open.get()), "result");
  CHECK(read_file(path) == "written before; result");
  struct stat after {};
  REQUIRE(::stat(path.c_str(), &after) == 0);
  CHECK(after.st_ino == before.st_ino);
}

TEST_CASE("whole file: a writer that is killed leaves the old content and no other file") {
  const TemporaryFolder folder;
  const std::string path = folder / "result";
  const std::vector<std::string> olds{"", "old"};
  for (const std::string& old : olds) {
    if (!old.empty()) write_whole(path, old);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // The kernel kills a process that writes more.
      ::signal(SIGXFSZ, SIG_DFL);
      const rlimit none{0, 0};
      const rlimit limit{4096, 4096};
      ::setrlimit(RLIMIT_CORE, &none);
      ::setrlimit(RLIMIT_FSIZE, &limit);
      write_whole(path, std::string(100'000, 'x'));
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGXFSZ);
    CHECK(count_in(folder.path()) == (old.empty() ? 0 : 1));
    if (!old.empty()) CHECK(read_file(path) == old);
  }
}

TEST_CASE("whole file: check_whole() throws if the file cannot be written") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(check_whole(folder.path()), OsError);
  CHECK_THROWS_AS(check_whole(folder / "no/such/folder"), OsError);
  CHECK_THROWS_AS(check_whole(""), OsError);
  std::filesystem::create_symlink("no/such/folder/file", folder / "dangling");
  CHECK_THROWS_AS(check_whole(folder / "dangling"), OsError);
  check_whole(folder / "file");
  check_whole("/dev/null");
  CHECK(count_in(folder.path()) == 1);
}

TEST_CASE("whole file: a FIFO without a reader is refused, and one with a reader is written") {
  const TemporaryFolder folder;
  const std::string path = folder / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  try {
    write_whole(path, "lost");
    FAIL("it was written");
  } catch (const OsError& error) {
    CHECK(error.code().value() == ENXIO);
  }
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  REQUIRE(reader);
  write_whole(path, "content");
  std::array<char, 16> bytes{};
  CHECK(::read(reader.get(), bytes.data(), bytes.size()) == 7);
  CHECK(std::string(bytes.data()) == "content");
}

}  // namespace wireup::os
