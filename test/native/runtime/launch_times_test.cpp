// The times of launches over several hosts: clocks of agents, and barriers in the result.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/fake_tree.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

TEST_CASE("hosts: an agent that asks for the time gets the launcher's") {
  FakeTree tree(launch_on({1, 1}));
  const auto hello = tree.expect<agent::Hello>(1);
  const std::uint64_t before = FakeTree::now_ns();
  CHECK(hello.sent_ns <= before);
  tree.ready(0);
  tree.ready(1);
  tree.send(1, agent::ClockQuery{77});
  const auto answer = tree.expect<agent::ClockAnswer>(1);
  CHECK(answer.sent_ns == 77);
  CHECK(answer.now_ns >= before);
  CHECK(answer.now_ns <= FakeTree::now_ns());
}

TEST_CASE("hosts: events and the result have the times that agents send, between the begin and now") {
  const Ranks counts{1, 1};
  LaunchOptions options = launch_on(counts);
  options.group.group.reported_entries = 8;
  const auto begin = options.begin;
  FakeTree tree(std::move(options));
  tree.start(counts);
  const auto at = [&](int us) { return begin + std::chrono::microseconds(us); };
  const auto send = [&](std::uint32_t host, EventType type, std::int32_t rank, std::uint64_t ns) {
    agent::EventRecord record{.type = static_cast<std::uint8_t>(type), .rank = rank};
    record.time_ns = ns;
    tree.send(host, agent::Events{0, {record}});
    tree.notice<engine::Event>();
  };
  send(0, EventType::initialized, 0, 1);
  CHECK(tree.when == begin);
  send(1, EventType::initialized, 1, to_ns(at(10)));
  CHECK(tree.when == at(10));
  send(0, EventType::entered, 0, to_ns(at(20)));
  send(1, EventType::entered, 1, to_ns(at(40)));
  send(0, EventType::barrier, -1, to_ns(at(60)));
  agent::Exited first = exited(0);
  first.time_ns = to_ns(at(70));
  tree.send(0, first);
  tree.notice<RankExited>();
  CHECK(tree.when == at(70));
  // The server has noticed the end of the connection after that of the process.
  send(0, EventType::disconnected, 0, to_ns(at(75)));
  CHECK(tree.when == at(70));
  agent::Exited second = exited(1);
  second.time_ns = ~std::uint64_t{0};
  const auto before = os::Reactor::Clock::now();
  tree.send(1, second);
  tree.notice<RankExited>();
  CHECK(*tree.when >= before);
  CHECK(*tree.when <= os::Reactor::Clock::now());
  tree.finish();
  const LaunchResult& result = tree.result();
  CHECK(result.times[0].initialized == 0);
  CHECK(result.times[1].initialized == doctest::Approx(0.010));
  CHECK(result.times[0].entered.at(0) == doctest::Approx(0.020));
  CHECK(result.times[1].entered.at(0) == doctest::Approx(0.040));
  CHECK(result.barrier_times.at(0) == doctest::Approx(0.060));
  CHECK(result.times[0].disconnected == doctest::Approx(0.070));
  CHECK(result.times[0].exited == doctest::Approx(0.070));
}

TEST_CASE("hosts: no rank leaves a barrier before the last one has entered it, if clocks differ") {
  const Ranks counts{1, 1};
  LaunchOptions options = launch_on(counts);
  options.group.group.reported_entries = 8;
  const auto begin = options.begin;
  FakeTree tree(std::move(options));
  tree.start(counts);
  const auto send = [&](std::uint32_t host, EventType type, std::int32_t rank, int us) {
    agent::EventRecord record{.type = static_cast<std::uint8_t>(type), .rank = rank};
    record.time_ns = to_ns(begin + std::chrono::microseconds(us));
    tree.send(host, agent::Events{0, {record}});
    tree.notice<engine::Event>();
  };
  for (const std::uint32_t rank : {0U, 1U})
    send(rank, EventType::initialized, static_cast<std::int32_t>(rank), 1);
  send(0, EventType::entered, 0, 10);
  send(0, EventType::barrier, -1, 20);
  send(0, EventType::finalized, 0, 25);
  // By the clock of its host.
  send(1, EventType::entered, 1, 30);
  for (const std::uint32_t rank : {0U, 1U}) tree.send(rank, exited(rank));
  tree.finish();
  const LaunchResult& result = tree.result();
  CHECK(result.times[0].entered.at(0) == doctest::Approx(0.010));
  CHECK(result.times[1].entered.at(0) == doctest::Approx(0.030));
  CHECK(result.barrier_times.at(0) == doctest::Approx(0.030));
  CHECK(result.times[0].finalized == doctest::Approx(0.030));
}

}  // namespace wireup::runtime
