// Output of ranks on several hosts is bounded in memory, and whole, if its reader is slow.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tools/agent/host_output.h"

namespace {

using namespace wireup;
using namespace wireup::test;

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
    // Without a reader nothing moves at last: the window of each host is full, and each rank's pipe too.
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

}  // namespace
