// How the output of ranks on several hosts reaches the launcher's stdout and its pipes.
#include <pty.h>
#include <termios.h>

#include <optional>
#include <random>

#include "tools/agent/host_streams.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using msg::OpenLine;
using msg::OutputMode;

msg::Hello merged(std::uint32_t host, std::string label = "[%r] ") {
  return {.host = host, .out = {OutputMode::merge}, .err = {OutputMode::merge}, .label = std::move(label)};
}

// Fd 1 of this process is the stdout of host 0's agent. Its read end is `out`.
struct Stdout {
  Stdout() : Stdout(os::make_pipe()) {}
  explicit Stdout(os::FdPair pipe) : out(std::move(pipe.first)) {
    replaced.emplace(1, std::move(pipe.second));
  }
  // The reader then reads the end.
  void close() { replaced.reset(); }

  os::UniqueFd out;
  std::optional<Replaced> replaced;
};

// Numbered lines of a rank until `total` bytes.
std::function<std::string()> numbered_lines(std::uint32_t rank, std::size_t total) {
  return [rank, total, number = 0, sent = std::size_t{0}]() mutable {
    std::string text;
    while (text.size() < 8192 && sent + text.size() < total) {
      // Lines of many lengths.
      text += std::to_string(rank) + " " + std::to_string(number) + " " +
              std::string(static_cast<std::size_t>(number * 7 % 200), 'x') + "\n";
      ++number;
    }
    sent += text.size();
    return text;
  };
}

// Checks that each rank's lines are whole and in order, and returns their number by rank.
std::map<std::string, int> check_lines(const std::string& text) {
  std::map<std::string, int> next;
  for (const std::string& line : lines_of(text)) {
    const std::size_t label = line.find("] ");
    REQUIRE(label != std::string::npos);
    const std::string rank = line.substr(1, label - 1);
    const int number = next[rank]++;
    const std::string expected = rank + " " + std::to_string(number) + " " +
                                 std::string(static_cast<std::size_t>(number * 7 % 200), 'x');
    REQUIRE(line.substr(label + 2) == expected);
  }
  return next;
}

TEST_CASE("20 MB of output of two hosts wait for a slow reader, in bounded memory, whole and in order") {
  Tree tree;
  std::string text;
  constexpr std::size_t kEach = 5'000'000;
  std::size_t written_at_rest = 0;
  {
    Stdout out;
    auto& own = tree.add(merged(0));
    std::vector<std::unique_ptr<Writer>> ranks;
    std::vector<int> pipes;
    const auto start = [&](Tree::Host& host, std::uint32_t rank) {
      os::UniqueFd pipe = host.open(rank);
      pipes.push_back(pipe.get());
      ranks.push_back(std::make_unique<Writer>(std::move(pipe), numbered_lines(rank, kEach)));
    };
    start(own, 0);
    std::vector<Tree::Host*> others;
    for (std::uint32_t host : {1U, 2U}) {
      others.push_back(&tree.add(merged(host)));
      start(*others.back(), 2 * host);
      start(*others.back(), 2 * host + 1);
    }
    const auto total = [&] {
      std::size_t sum = 0;
      for (const auto& rank : ranks) sum += rank->written();
      return sum;
    };
    // Nobody reads, so at last nothing moves: the window of each host is full, and each rank's pipe too.
    tree.run_until([&] {
      for (std::uint32_t host : {1U, 2U}) {
        if (tree.unacknowledged(host, 1) + msg::kMaxPart + 4096 < msg::kMaxUnacknowledged) return false;
      }
      return std::ranges::none_of(pipes, is_writable);
    });
    written_at_rest = total();
    tree.run_turns(1000);
    CHECK(total() == written_at_rest);
    // In each rank's pipe, in its unfinished line, in a read of each host, in the windows and in the reader's
    // pipe.
    CHECK(written_at_rest <= 5 * (kPipe + 8192) + 3 * kPipe + 2 * msg::kMaxUnacknowledged + kPipe);

    std::thread reader([&] {
      // In pieces, so that every hop is full again and again.
      char buffer[7001];
      for (ssize_t size; (size = ::read(out.out.get(), buffer, sizeof(buffer))) > 0;)
        text.append(buffer, static_cast<std::size_t>(size));
    });
    int done = 0;
    tree.run_until(
        [&] { return std::ranges::all_of(ranks, [](const auto& rank) { return rank->ended(); }); });
    for (Tree::Host* host : others) host->output->drain([&] { ++done; });
    tree.run_until([&] { return done == 2; });
    own.output->drain([&] { ++done; });
    tree.run_until([&] { return done == 3; });
    for (std::uint32_t host : {1U, 2U}) CHECK(tree.unacknowledged(host, 1) == 0);
    own.output.reset();
    out.close();
    reader.join();
  }
  CHECK(tree.faults.empty());
  for (std::uint32_t host : {1U, 2U}) {
    CHECK(tree.most_unacknowledged(host, 1) <= msg::kMaxUnacknowledged);
    CHECK(tree.most_unacknowledged(host, 1) > msg::kMaxUnacknowledged / 2);
  }
  const auto counts = check_lines(text);
  CHECK(counts.size() == 5);
  CHECK(text.size() > 5 * kEach);
}

TEST_CASE("lines of other hosts that are longer than a message stay whole while they keep arriving") {
  Tree tree;
  std::string text;
  {
    Stdout out;
    auto& own = tree.add(merged(0));
    auto& first = tree.add(merged(1));
    auto& second = tree.add(merged(2));
    const auto long_lines = [](char letter) {
      return [letter, left = 5]() mutable {
        return left-- > 0 ? std::string(1'000'000, letter) + "\n" : std::string();
      };
    };
    std::vector<std::unique_ptr<Writer>> ranks;
    ranks.push_back(std::make_unique<Writer>(own.open(0), long_lines('0')));
    ranks.push_back(std::make_unique<Writer>(first.open(1), long_lines('1')));
    ranks.push_back(std::make_unique<Writer>(first.open(2), long_lines('2')));
    ranks.push_back(std::make_unique<Writer>(second.open(3), long_lines('3')));
    tree.run_with([&] {
      char buffer[65536];
      while (text.size() < 20 * 1'000'005) {
        const ssize_t size = ::read(out.out.get(), buffer, sizeof(buffer));
        if (size <= 0) break;
        text.append(buffer, static_cast<std::size_t>(size));
      }
    });
  }
  const auto got = lines_of(text);
  REQUIRE(got.size() == 20);
  for (const std::string& line : got) {
    REQUIRE(line.size() == 1'000'004);
    CHECK(line.starts_with(std::string("[") + line[4] + "] "));
    CHECK(std::count(line.begin() + 4, line.end(), line[4]) == 1'000'000);
  }
  CHECK(tree.faults.empty());
}

// Ranks 0 (host 0), 4 and 5 (host 1) and 8 (host 2) write a text each, one after the other. Each text must
// arrive before the next is written.
struct OutputStep {
  std::uint32_t rank;
  std::string text;
  std::string arrives;
};

void play(const std::string& label, const std::vector<OutputStep>& steps, const std::string& at_the_end) {
  Tree tree;
  std::string all;
  {
    Stdout out;
    auto& own = tree.add(merged(0, label));
    auto& first = tree.add(merged(1, label));
    auto& second = tree.add(merged(2, label));
    std::map<std::uint32_t, os::UniqueFd> ranks;
    ranks[0] = own.open(0);
    ranks[4] = first.open(4);
    ranks[5] = first.open(5);
    ranks[8] = second.open(8);
    std::string expected;
    const auto arrived = [&] {
      char buffer[256];
      if (wait_readable(out.out.get(), 0)) {
        const ssize_t size = ::read(out.out.get(), buffer, sizeof(buffer));
        if (size > 0) all.append(buffer, static_cast<std::size_t>(size));
      }
      return all.size() >= expected.size();
    };
    for (const OutputStep& step : steps) {
      if (step.text.empty()) {
        ranks[step.rank].reset();
      } else {
        write_all(ranks[step.rank].get(), step.text);
      }
      expected += step.arrives;
      tree.run_until(arrived);
      // For a step after which nothing arrives.
      tree.run_turns(5);
    }
    int done = 0;
    ranks.clear();
    for (auto* host : {&first, &second}) host->output->drain([&] { ++done; });
    tree.run_until([&] { return done == 2; });
    own.output->drain([&] { ++done; });
    expected += at_the_end;
    tree.run_until([&] { return done == 3 && arrived(); });
    CHECK_FALSE(wait_readable(out.out.get(), 0));
  }
  std::string expected;
  for (const OutputStep& step : steps) expected += step.arrives;
  CHECK(all == expected + at_the_end);
  CHECK(tree.faults.empty());
}

TEST_CASE("a line of another host that is late is written, and cut by the next line of any host") {
  SUBCASE("by a rank of host 0") {
    play("[%r] ",
         {{4, "Your name: ", "[4] Your name: "},
          {0, "between\n", "...\n[0] between\n"},
          {4, "Ada\n", "[4] ...Ada\n"},
          {4, "end\n", "[4] end\n"}},
         "");
  }
  SUBCASE("by a rank of the same host") {
    play("[%r] ",
         {{4, "Your name: ", "[4] Your name: "},
          {5, "between\n", "...\n[5] between\n"},
          {4, "Ada\n", "[4] ...Ada\n"}},
         "");
  }
  SUBCASE("by a rank of a third host") {
    play("[%r] ",
         {{4, "Your name: ", "[4] Your name: "},
          {8, "between\n", "...\n[8] between\n"},
          {4, "Ada\n", "[4] ...Ada\n"}},
         "");
  }
  SUBCASE("by ranks of both, but the cut is shown once") {
    play("[%r] ",
         {{4, "Your name: ", "[4] Your name: "},
          {0, "x\n", "...\n[0] x\n"},
          {5, "y\n", "[5] y\n"},
          {4, "Ada\n", "[4] ...Ada\n"}},
         "");
  }
  SUBCASE("several times") {
    play("[%r] ",
         {{4, ".", "[4] ."},
          {8, ".", "...\n[8] ."},
          {5, ".", "...\n[5] ."},
          {0, ".", "...\n[0] ."},
          {4, ".", "...\n[4] ...."},
          {8, ".\n", "...\n[8] ....\n"},
          {5, "z\n", "[5] ...z\n"},
          {4, "\n", "[4] ...\n"}},
         // Rank 0 has not ended its line; it was cut.
         "");
  }
  SUBCASE("without labels a cut adds only a newline, once") {
    play("",
         {{4, "Your name: ", "Your name: "},
          {0, "x\n", "\nx\n"},
          {5, "y\n", "y\n"},
          {4, "Ada\n", "Ada\n"},
          {4, "more", "more"},
          {5, "z\n", "\nz\n"}},
         "");
  }
  SUBCASE("it goes on if nothing comes between") {
    play("[%r] ", {{4, "one ", "[4] one "}, {4, "two ", "two "}, {4, "three\n", "three\n"}}, "");
  }
  SUBCASE("a rank that ends in a line gets a newline, with labels") {
    play("[%r] ",
         {{4, "last", "[4] last"}, {4, "", "\n"}, {5, "next\n", "[5] next\n"}, {5, "short", "[5] short"}},
         "\n");
  }
  SUBCASE("a rank that ends in a line that was cut on host 0 adds nothing") {
    play("[%r] ",
         {{4, "last", "[4] last"}, {0, "x\n", "...\n[0] x\n"}, {4, "", ""}, {5, "next\n", "[5] next\n"}}, "");
  }
  SUBCASE("without labels nothing is added at the end") {
    play("", {{4, "a", "a"}, {4, "", ""}, {5, "b\n", "\nb\n"}, {8, "end", "end"}}, "");
  }
}

TEST_CASE("labels are made on the rank's host") {
  Tree tree;
  Stdout out;
  tree.add(merged(0));
  auto& other = tree.add(merged(1, "[%r %h] "));
  const os::UniqueFd rank = other.open(3);
  write_all(rank.get(), "hi\n");
  tree.run_until([&] { return wait_readable(out.out.get(), 0); });
  CHECK(read_line(out.out.get()) == "[3 host1] hi");
}

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

TEST_CASE("a host has written everything only when host 0 has") {
  Tree tree;
  std::string text;
  {
    Stdout out;
    tree.add(merged(0));
    auto& other = tree.add(merged(1));
    Writer rank(other.open(1), numbered_lines(1, 200'000));
    bool done = false;
    tree.run_until([&] { return rank.ended(); });
    other.output->drain([&] { done = true; });
    tree.run_turns(1000);
    CHECK_FALSE(done);
    CHECK(tree.unacknowledged(1, 1) > 0);
    SUBCASE("read") {
      tree.run_with([&] {
        for (char buffer[4096]; text.size() < 200'000;) {
          const ssize_t size = ::read(out.out.get(), buffer, sizeof(buffer));
          if (size <= 0) break;
          text.append(buffer, static_cast<std::size_t>(size));
        }
      });
      std::thread reader([&] {
        while (!done && wait_readable(out.out.get(), 10)) {
          char buffer[4096];
          if (::read(out.out.get(), buffer, sizeof(buffer)) <= 0) break;
        }
      });
      tree.run_until([&] { return done; });
      reader.join();
      CHECK(tree.unacknowledged(1, 1) == 0);
    }
    SUBCASE("dropped") {
      other.output->drop();
      // What is on the way, and its credit, does no harm.
      for (char buffer[4096]; wait_readable(out.out.get(), 0);) {
        REQUIRE(::read(out.out.get(), buffer, sizeof(buffer)) > 0);
        tree.run_turns(10);
      }
    }
  }
  CHECK(tree.faults.empty());
}

TEST_CASE("host 0 can be done before other hosts, whose lines then go on") {
  Tree tree;
  std::string text;
  {
    Stdout out;
    auto& own = tree.add(merged(0));
    auto& other = tree.add(merged(1));
    os::UniqueFd own_rank = own.open(0);
    os::UniqueFd rank = other.open(1);
    std::thread reader([&] { text = read_all(out.out.get()); });
    const auto drain = [&](Tree::Host& host) {
      bool done = false;
      host.output->drain([&] { done = true; });
      tree.run_until([&] { return done; });
    };
    write_all(rank.get(), "begun");
    tree.run_until([&] { return tree.most_unacknowledged(1, 1) > 0 && tree.unacknowledged(1, 1) == 0; });
    // The rank's own line waits until the other host's line can be cut.
    const bool prints = [] {
      bool result = false;
      SUBCASE("it prints a line at the end") { result = true; }
      SUBCASE("it prints nothing") {}
      return result;
    }();
    if (prints) write_all(own_rank.get(), "own\n");
    own_rank.reset();
    drain(own);
    write_all(rank.get(), " and ended\nlast");
    rank.reset();
    drain(other);
    drain(own);
    own.output.reset();
    out.close();
    reader.join();
    CHECK(text == (prints ? "[1] begun...\n[0] own\n[1] ... and ended\n[1] last\n"
                          : "[1] begun and ended\n[1] last\n"));
  }
  CHECK(tree.faults.empty());
}

TEST_CASE("the output of a task on another host goes to its pipe unchanged, whatever other pipes do") {
  Tree tree;
  auto& own = tree.add(merged(0));
  auto& other = tree.add(merged(1));
  std::vector<os::FdPair> pipes;
  std::vector<os::UniqueFd> ends;
  for (int i = 0; i < 3; ++i) {
    pipes.push_back(os::make_pipe());
    ends.push_back(std::move(pipes.back().second));
  }
  REQUIRE(own.output->handle(msg::TaskPipes{1, 1, {7, 8, 9}}, std::move(ends)) == nullptr);
  std::mt19937 random(1);
  std::string bytes(3'000'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const auto text_of = [&bytes](std::size_t piece) {
    return [&bytes, piece, at = std::size_t{0}]() mutable {
      const std::string text = bytes.substr(at, piece);
      at += text.size();
      return text;
    };
  };
  Writer read(other.output->open_task(7, 1), text_of(30'000));
  Writer unread(other.output->open_task(8, 1), text_of(1'000));
  Writer refused(other.output->open_task(9, 1), text_of(1'000));
  pipes[2].first.reset();
  std::string got;
  tree.run_with([&] { got = read_all(pipes[0].first.get()); });
  CHECK(got == bytes);
  tree.run_until([&] { return refused.ended(); });
  CHECK(refused.error() == EPIPE);
  CHECK(own.lost.empty());
  // The pipe at each end, one read, and the window.
  CHECK_FALSE(unread.ended());
  CHECK(unread.written() <= 4 * kPipe);
  std::string late;
  tree.run_with([&] { late = read_all(pipes[1].first.get()); });
  CHECK(late == bytes);
  CHECK(unread.error() == 0);
  int done = 0;
  other.output->drain([&] { ++done; });
  tree.run_until([&] { return done == 1; });
  CHECK(tree.faults.empty());
}

TEST_CASE("the pipe of a task ends if its host is lost") {
  Tree tree;
  auto& own = tree.add(merged(0));
  auto& other = tree.add(merged(1));
  os::FdPair written = os::make_pipe();
  os::FdPair silent = os::make_pipe();
  std::vector<os::UniqueFd> ends;
  ends.push_back(std::move(written.second));
  ends.push_back(std::move(silent.second));
  REQUIRE(own.output->handle(msg::TaskPipes{1, 2, {7, 8}}, std::move(ends)) == nullptr);
  const os::UniqueFd rank = other.output->open_task(7, 2);
  write_all(rank.get(), "some");
  tree.run_until([&] { return wait_readable(written.first.get(), 0); });
  tree.lose(1);
  CHECK(read_all(written.first.get()) == "some");
  CHECK(read_all(silent.first.get()).empty());
  // Its number may not be used again by a host that is lost.
  CHECK(own.output->handle(1, msg::Output{2, 7, "x"}) != nullptr);
}

TEST_CASE("messages that a host must not send are refused") {
  Tree tree;
  Stdout out;
  auto& host0 = tree.add(merged(0));
  auto& own = *host0.output;
  auto& other = *tree.add(merged(1)).output;
  CHECK(own.handle(1, msg::Output{3, -1, "x\n"}) != nullptr);
  CHECK(own.handle(1, msg::Output{0, -1, "x\n"}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, 5, "x\n"}) != nullptr);
  // An empty message, except to end a line.
  CHECK(own.handle(1, msg::Output{1, -1, ""}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "in a line"}) == nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::cut}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) == nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) != nullptr);
  // More than the window, in bytes, in labels and in messages.
  CHECK(own.handle(2, msg::Output{1, -1, std::string(msg::kMaxUnacknowledged, 'x')}) != nullptr);
  CHECK(own.handle(2, msg::Output{1, -1, "x", OpenLine::continues,
                                  std::string(msg::kMaxUnacknowledged, 'x')}) != nullptr);
  int taken = 0;
  while (taken < 100'000 && own.handle(2, msg::Output{1, -1, "x\n"}) == nullptr) ++taken;
  CHECK(taken < 4'000);
  // To the wrong host.
  CHECK(other.handle(0, msg::Output{1, -1, "x\n"}) != nullptr);
  CHECK(other.handle(msg::TaskPipes{1, 1, {3}}, std::nullopt) != nullptr);
  CHECK(own.handle(msg::Credit{1, -1, 1}) != nullptr);
  // Credit for nothing.
  CHECK(other.handle(msg::Credit{1, -1, 1}) != nullptr);
  CHECK(other.handle(msg::Credit{1, 3, 0}) != nullptr);
  CHECK(other.handle(msg::CloseOutput{1, 3, EPIPE}) != nullptr);
  CHECK(other.handle(msg::CloseOutput{1, -1, 0}) != nullptr);
  // Pipes.
  CHECK(own.handle(msg::TaskPipes{0, 1, {3}}, std::nullopt) != nullptr);
  CHECK(own.handle(msg::TaskPipes{1, 3, {3}}, std::nullopt) != nullptr);
  std::vector<os::UniqueFd> one;
  one.push_back(os::make_pipe().second);
  CHECK(own.handle(msg::TaskPipes{1, 1, {3, 4}}, std::move(one)) != nullptr);
  // The fds were lost: the task gets SIGPIPE.
  CHECK(own.handle(msg::TaskPipes{1, 1, {3, 4}}, std::nullopt) == nullptr);
  CHECK(host0.lost == std::vector<std::pair<int, std::string>>{{EMFILE, "the pipes of ranks"}});
  CHECK(own.handle(msg::TaskPipes{1, 1, {3}}, std::nullopt) != nullptr);
}

TEST_CASE("whatever hosts send in whatever order does no harm") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
    Tree tree;
    Stdout out;
    const Replaced err(2, os::UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC)));
    os::set_nonblocking(out.out.get(), true);
    auto& own = tree.add(merged(0, seed % 2 == 0 ? "[%r] " : ""));
    const os::UniqueFd rank = own.open(0);
    std::size_t most = 30'000;  // labels, cuts, and the lines of the own rank
    std::size_t got = 0;
    auto& output = *own.output;
    for (int step = 0; step < 300; ++step) {
      const auto host = static_cast<std::uint32_t>(1 + below(3));
      msg::Output message;
      message.stream = static_cast<std::uint32_t>(1 + (below(50) == 0 ? below(3) : 0));
      message.bytes = std::string(below(4) == 0 ? below(70'000) : below(20), 'x');
      if (below(2) == 0) message.bytes += "\n";
      message.open_line = static_cast<OpenLine>(below(4) == 0 ? below(3) : 0);
      message.label = std::string(below(10), 'l');
      const std::size_t size = message.bytes.size();
      if (output.handle(host, std::move(message)) == nullptr) {
        most += size;
      } else if (below(5) == 0) {
        output.lose_host(host);
      }
      if (below(10) == 0) write_all(rank.get(), "own\n");
      tree.run_turns(2);
      char buffer[30'000];
      for (ssize_t read; below(3) != 0 && (read = ::read(out.out.get(), buffer, sizeof(buffer))) > 0;)
        got += static_cast<std::size_t>(read);
    }
    CHECK(got <= most);
    CHECK(got > 0);
  }
}

TEST_CASE("a host whose plan is to write files sends no output to host 0") {
  Tree tree;
  msg::Hello files = merged(0);
  files.out = {OutputMode::file, "/tmp/none"};
  auto& own = *tree.add(files).output;
  CHECK(own.handle(1, msg::Output{1, -1, "x\n"}) != nullptr);
}

}  // namespace
