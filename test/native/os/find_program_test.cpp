#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "os/start_process.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

TEST_CASE("find_program") {
  TemporaryFolder folder;
  for (const char* name : {"one", "two", "here"}) REQUIRE(::mkdir((folder / name).c_str(), 0755) == 0);
  write_file(folder / "one/plain", "", 0644);
  write_file(folder / "two/plain", "", 0755);
  write_file(folder / "one/closed", "", 0644);
  write_file(folder / "two/tool", "", 0755);
  write_file(folder / "here/local", "", 0755);
  write_file(folder / "one/file", "", 0755);
  REQUIRE(::mkdir((folder / "one/tool").c_str(), 0755) == 0);
  REQUIRE(::symlink("nowhere", (folder / "one/dangling").c_str()) == 0);
  const std::string one = folder / "one";
  const std::string two = folder / "two";
  struct Row {
    std::string program;
    std::string path;
    std::string directory;
    std::string found;
    int error;
  };
  const Row rows[] = {
      {"tool", two, "", two + "/tool", 0},
      // It skips a folder, a file that is not executable, and a folder that does not exist.
      {"tool", one + ":" + two, "", two + "/tool", 0},
      {"plain", "/no/such:" + one + ":" + two, "", two + "/plain", 0},
      {"tool", one + "/file:" + two, "", two + "/tool", 0},
      // It reports EACCES if it found a file that is not executable.
      {"closed", one + ":" + two, "", "", EACCES},
      {"tool", one, "", "", EACCES},
      {"nothing", one + ":" + two, "", "", ENOENT},
      {"dangling", one, "", "", ENOENT},
      {"", two, "", "", ENOENT},
      // Empty and relative elements are relative to the directory.
      {"local", "/no/such:", folder / "here", "./local", 0},
      {"local", ":/no/such", folder / "here", "./local", 0},
      {"local", "/no/such::/no/such", folder / "here", "./local", 0},
      {"local", "here", folder.path(), "here/local", 0},
      {"local", "/no/such", folder / "here", "", ENOENT},
      // A name with a slash is not searched.
      {"two/tool", one, folder.path(), "two/tool", 0},
      {"./tool", two, folder / "two", "./tool", 0},
      {two + "/tool", "", folder / "here", two + "/tool", 0},
      {"./tool", two, folder / "here", "", ENOENT},
      {one + "/closed", "", "", "", EACCES},
      {one, "", "", "", EACCES},
      {one + "/file/x", "", "", "", ENOTDIR},
      {"sh", "", "", "/bin/sh", 0},
      {std::string(300, 'x'), two, "", "", ENOENT},
  };
  for (const auto& row : rows) {
    CAPTURE(row.program);
    CAPTURE(row.path);
    CAPTURE(row.directory);
    std::string found;
    const auto thrown = thrown_by([&] { found = find_program(row.program, row.path, row.directory); });
    CHECK(thrown == row.error);
    CHECK(found == row.found);
    if (row.error != 0) CHECK(thrown.second == "execve");
  }
}

}  // namespace wireup::os
