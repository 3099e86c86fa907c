#include "runtime/line_reader.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/words.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

struct ReaderOfPipe {
  os::Reactor reactor;
  os::FdPair pipe = os::make_pipe();
  std::vector<std::string> lines;
  std::function<void()> then;
  std::unique_ptr<LineReader> reader =
      std::make_unique<LineReader>(reactor, std::move(pipe.first), [this](const std::string& line) {
        lines.push_back(line);
        if (then) then();
      });

  void write(std::string_view text) { wireup::test::write_all(pipe.second.get(), text); }
  void run_to(std::size_t count) {
    run_until(reactor, [&] { return lines.size() == count; });
  }
};

}  // namespace

TEST_CASE("line reader: reports whole lines, printable and without empty ones") {
  ReaderOfPipe text;
  text.write("one\n\n\r\ntwo\r\n\x1b[1mthree\nfo");
  text.run_to(3);
  text.write("ur\nrest");
  text.run_to(4);
  text.pipe.second.reset();
  text.run_to(5);
  CHECK(text.lines == std::vector<std::string>{"one", "two", "\\x1b[1mthree", "four", "rest"});
  run_once(text.reactor);
}

TEST_CASE("line reader: cuts a long line and keeps the last lines") {
  ReaderOfPipe text;
  for (int i = 0; i < 20; i++) text.write(std::to_string(i) + "\n");
  text.write(std::string(kMaxTextLine, 'x') + "yyy\n" + "end\n");
  text.run_to(22);
  CHECK(text.lines[20] == std::string(kMaxTextLine, 'x') + "...");
  CHECK(text.lines[21] == "end");
  CHECK(text.reader->kept() ==
        "14\n15\n16\n17\n18\n19\n" + std::string(kMaxTextLine, 'x') + "...\n" + "end\n");
  text.reader->forget_kept();
  CHECK(text.reader->kept().empty());
}

TEST_CASE("line reader: reads nothing while it is on hold") {
  ReaderOfPipe text;
  text.reader->hold(true);
  text.write("one\ntwo");
  run_once(text.reactor);
  CHECK(text.lines.empty());
  SUBCASE("reads on") {
    text.reader->hold(false);
    text.run_to(1);
  }
  SUBCASE("finish") {
    text.reader->finish();
    CHECK(text.lines == std::vector<std::string>{"one", "two"});
    text.reader->hold(false);
    text.reader->finish();
    run_once(text.reactor);
    CHECK(text.lines.size() == 2);
  }
}

TEST_CASE("line reader: read_now() leaves a line without a newline for later") {
  ReaderOfPipe text;
  text.write("one\ntw");
  text.reader->read_now();
  CHECK(text.lines == std::vector<std::string>{"one"});
  text.write("o\n");
  text.run_to(2);
  CHECK(text.lines[1] == "two");
}

TEST_CASE("line reader: finish() ends although the writer goes on") {
  ReaderOfPipe text;
  text.then = [&] { text.write("again\n"); };
  text.write("first\n");
  text.reader->finish();
  CHECK(text.lines.size() > 10);
  CHECK(text.lines.size() < 1000);
}

TEST_CASE("line reader: can be destroyed by its callback") {
  ReaderOfPipe text;
  text.then = [&] { text.reader.reset(); };
  SUBCASE("at a line") {
    text.write("one\ntwo\n");
    text.run_to(1);
  }
  SUBCASE("at the end of the pipe") {
    text.write("rest");
    text.pipe.second.reset();
    text.run_to(1);
  }
  SUBCASE("by finish()") {
    text.write("one\ntwo\n");
    text.reader->finish();
  }
  run_once(text.reactor);
  CHECK(text.lines.size() == 1);
}

TEST_CASE("words: durations and foreign lines") {
  CHECK(in_words(std::chrono::seconds(60)) == "60 s");
  CHECK(in_words(std::chrono::milliseconds(1500)) == "1500 ms");
  CHECK(last_lines("").empty());
  CHECK(last_lines(" \r\n\n").empty());
  CHECK(last_lines("  one\ttab \r\n\ntwo\x07\nthree") == "one\\ttab; two\\x07; three");
  const std::string shown = last_lines(std::string(1000, 'x') + "\nend");
  CHECK(shown.size() == 503);
  CHECK(shown.starts_with("...xxx"));
  CHECK(shown.ends_with("x; end"));
  // No character is cut.
  CHECK(last_lines("\xc3\xa4" + std::string(499, 'x')) == "..." + std::string(499, 'x'));
}

}  // namespace wireup::runtime
