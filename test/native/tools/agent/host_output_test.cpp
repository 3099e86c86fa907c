// How the output of ranks on several hosts reaches the launcher's stdout and stderr, and what happens if a
// reader or a host goes.
#include "tools/agent/host_output.h"

#include <pty.h>
#include <termios.h>

#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace wireup;
using namespace wireup::test;

TEST_CASE("stdout and stderr of another host stay apart") {
  Tree tree;
  Stdout out;
  os::FdPair pipe = os::make_pipe();
  const Replaced replaced(2, std::move(pipe.second));
  tree.add(merged(0));
  auto& other = tree.add(merged(1));
  const os::UniqueFd rank_out = other.open(3, 1);
  const os::UniqueFd rank_err = other.open(3, 2);
  write_all(rank_out.get(), "out\n");
  write_all(rank_err.get(), "err\n");
  tree.run_until([&] { return wait_readable(out.out.get(), 0) && wait_readable(pipe.first.get(), 0); });
  CHECK(read_line(out.out.get()) == "[3] out");
  CHECK(read_line(pipe.first.get()) == "[3] err");
}

TEST_CASE("output of another host removes the status line") {
  int master = -1;
  int slave = -1;
  termios raw{};
  ::cfmakeraw(&raw);
  REQUIRE(::openpty(&master, &slave, nullptr, &raw, nullptr) == 0);
  const os::UniqueFd reader(master);
  Tree tree;
  std::string text;
  {
    const Replaced err(2, os::UniqueFd(slave));
    auto& own = tree.add(merged(0));
    auto& other = tree.add(merged(1));
    own.output->show_status("status");
    const os::UniqueFd rank = other.open(1, 2);
    write_all(rank.get(), "hi\n");
    tree.run_until([&] { return own.printed; });
    own.output->show_status("more");
    tree.run_until([&] {
      char buffer[100];
      const ssize_t size = wait_readable(reader.get(), 0) ? ::read(reader.get(), buffer, sizeof(buffer)) : 0;
      if (size > 0) text.append(buffer, static_cast<std::size_t>(size));
      return text.ends_with("\n");
    });
    tree.run_turns(10);
    CHECK_FALSE(wait_readable(reader.get(), 0));
    CHECK_FALSE(other.printed);
  }
  CHECK(text == "status\r\x1b[K[1] hi\n");
}

TEST_CASE("if the reader has gone, ranks of every host get SIGPIPE, and host 0 reports it once") {
  Tree tree;
  Stdout out;
  auto& own = tree.add(merged(0));
  auto& first = tree.add(merged(1));
  auto& second = tree.add(merged(2));
  const auto endless = [] { return std::string("line\n"); };
  Writer own_rank(own.open(0), endless);
  Writer first_rank(first.open(1), endless);
  Writer idle_rank(first.open(2), [&] {
    // It writes when another rank has got SIGPIPE.
    eventually([&] { return first_rank.ended(); });
    return std::string("line\n");
  });
  tree.run_until([&] { return first_rank.written() > 1'000'000 || !is_writable(1); });
  out.out.reset();
  tree.run_until([&] { return own_rank.ended() && first_rank.ended() && idle_rank.ended(); });
  CHECK(own_rank.error() == EPIPE);
  CHECK(first_rank.error() == EPIPE);
  CHECK(idle_rank.error() == EPIPE);
  // A rank that starts later, and a host that writes later.
  Writer late_rank(first.open(3), endless);
  Writer late_host(second.open(4), endless);
  tree.run_until([&] { return late_rank.ended() && late_host.ended(); });
  CHECK(late_rank.error() == EPIPE);
  CHECK(late_host.error() == EPIPE);
  CHECK(own.lost == std::vector<std::pair<int, std::string>>{{EPIPE, "stdout"}});
  CHECK(first.lost.empty());
  CHECK(second.lost.empty());
  // No credit will come, and the hosts do not wait for it.
  int done = 0;
  for (auto* host : {&own, &first, &second}) host->output->drain([&] { ++done; });
  tree.run_until([&] { return done == 3; });
  CHECK(tree.faults.empty());
}

TEST_CASE("a host is lost in the middle: what has arrived is written, and the others go on") {
  Tree tree;
  std::string text;
  {
    Stdout out;
    auto& own = tree.add(merged(0));
    auto& first = tree.add(merged(1));
    auto& second = tree.add(merged(2));
    Writer unread(first.open(1), [left = 200]() mutable {
      return left-- > 0 ? std::string(5000, '1') + "\n" : std::string("unfinished");
    });
    tree.run_until(
        [&] { return tree.unacknowledged(1, 1) + msg::kMaxPart + 4096 > msg::kMaxUnacknowledged; });
    Writer other(second.open(2), numbered_lines(2, 1'000'000));
    tree.run_until([&] { return tree.unacknowledged(2, 1) > msg::kMaxPart; });
    tree.lose(1);
    first.output->drop();
    int done = 0;
    std::thread reader([&] { text = read_all(out.out.get()); });
    tree.run_until([&] { return other.ended(); });
    second.output->drain([&] { ++done; });
    tree.run_until([&] { return done == 1; });
    own.output->drain([&] { ++done; });
    tree.run_until([&] { return done == 2; });
    own.output.reset();
    out.close();
    reader.join();
  }
  CHECK(tree.faults.empty());
  int whole = 0;
  std::string others;
  for (const std::string& line : lines_of(text)) {
    if (line == "[1] " + std::string(5000, '1')) {
      ++whole;
    } else {
      others += line + "\n";
    }
  }
  // Only what was not yet sent, or was in the link, is lost.
  CHECK(whole > 10);
  CHECK(check_lines(others).size() == 1);
}

TEST_CASE("a host that is lost in a line: the line ends, and the sink is free at once") {
  Tree tree;
  Stdout out;
  auto& own = tree.add(merged(0));
  auto& other = tree.add(merged(1));
  const os::UniqueFd rank = other.open(1);
  write_all(rank.get(), "unfinished");
  std::string text;
  const auto arrived = [&](std::size_t size) {
    return [&, size] {
      char c = 0;
      while (text.size() < size && wait_readable(out.out.get(), 0) && ::read(out.out.get(), &c, 1) == 1)
        text += c;
      return text.size() >= size;
    };
  };
  tree.run_until(arrived(14));
  tree.lose(1);
  const os::UniqueFd own_rank = own.open(0);
  write_all(own_rank.get(), "next\n");
  tree.run_until(arrived(24));
  CHECK(text == "[1] unfinished\n[0] next\n");
}

}  // namespace
