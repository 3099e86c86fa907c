#include "os/text_file.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "os/proc_pids.h"
#include "os/support.h"

namespace wireup::os {

using namespace test;

TEST_CASE("text file: the whole of a file, however long it is") {
  TemporaryFolder folder;
  const std::string path = folder / "text";
  CHECK(read_text(path).empty());
  CHECK(read_text(folder / "").empty());
  for (const std::size_t size : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 100'000UL}) {
    const std::string text(size, 'x');
    write_file(path, text, 0600);
    CHECK(read_text(path) == text);
  }
  CHECK(read_text("/proc/self/stat").starts_with(std::to_string(::getpid()) + " ("));
  CHECK(proc_pids("self").front() == ::getpid());
  CHECK(proc_pids("none").empty());
}

TEST_CASE("text file: lines and words") {
  CHECK(rest_of_line("a: 1\nb:2\nb:3", "b:") == "2");
  CHECK(rest_of_line("a: 1\nb:", "b:") == "");
  CHECK_FALSE(rest_of_line("xb: 1\n", "b:").has_value());
  CHECK_FALSE(rest_of_line("", "b:").has_value());

  std::string_view rest = "one\n\ntwo";
  std::vector<std::string> lines;
  for (std::string_view line; next_line(rest, line);) lines.emplace_back(line);
  CHECK(lines == std::vector<std::string>{"one", "", "two"});

  CHECK(words_of(" a\tbc  d\n") == std::vector<std::string_view>{"a", "bc", "d"});
  CHECK(words_of(" \t\n").empty());
}

}  // namespace wireup::os
