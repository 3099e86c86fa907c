// How lines of ranks on several hosts are labelled, joined and cut.
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tools/agent/host_output.h"

namespace {

using namespace wireup;
using namespace wireup::test;

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

}  // namespace
