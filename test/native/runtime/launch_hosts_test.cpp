// Launches over several hosts, with the agents played by the test: greetings, starts, departures, signals and
// the result.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "os/support.h"
#include "runtime/fake_tree.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

TEST_CASE("hosts: each agent gets Hello and the group at once, and ranks start when all servers are there") {
  LaunchOptions options = launch_on({1, 2});
  options.stdin_readers = {false, true, true};
  options.hello.label = "%r ";
  FakeTree tree(std::move(options));
  const auto own = tree.expect<agent::Hello>(0);
  CHECK(own.host == 0);
  CHECK(own.name == "n0");
  CHECK(own.stdin_readers == 0);
  CHECK(own.stdin_hosts == Ranks{1});
  CHECK(own.inherited.limits.empty());
  CHECK(tree.expect<agent::Group>(0).layout.size() == 2);
  const auto start = tree.expect<agent::StartHost>(0);
  CHECK(start.host == 1);
  CHECK(start.name == "n1");
  CHECK(start.command == std::vector<std::string>{"start", "1"});

  tree.ready(0);
  tree.settle();
  CHECK_FALSE(tree.take_notice<AgentReady>());
  tree.send(0, agent::GroupReady{0});
  const auto agent_ready = tree.notice<AgentReady>();
  CHECK(agent_ready.pid == 100);
  tree.settle();
  CHECK_FALSE(tree.take<agent::Start>(0));

  const auto hello = tree.expect<agent::Hello>(1);
  CHECK(hello.host == 1);
  CHECK(hello.name == "n1");
  CHECK(hello.label == "%r ");
  CHECK(hello.stdin_readers == 2);
  CHECK(hello.stdin_hosts.empty());
  CHECK_FALSE(hello.inherited.limits.empty());
  CHECK(tree.expect<agent::Group>(1).number == 0);
  CHECK_FALSE(tree.take_notice<HostStarted>());
  tree.ready(1);
  const auto host_started = tree.notice<HostStarted>();
  CHECK(host_started.host == 1);
  CHECK(host_started.name == "n1");
  CHECK(host_started.pid == 101);
  tree.settle();
  CHECK_FALSE(tree.take<agent::Start>(0));

  tree.send(1, agent::GroupReady{0});
  CHECK(tree.expect<agent::Program>(0).directory.empty());
  const auto here = tree.expect<agent::Start>(0);
  REQUIRE(here.ranks.size() == 1);
  CHECK(here.ranks[0].rank == 0);
  CHECK_FALSE(here.ranks[0].reads_stdin);
  const auto program = tree.expect<agent::Program>(1);
  CHECK(program.directory.starts_with("/"));
  const auto there = tree.expect<agent::Start>(1);
  REQUIRE(there.ranks.size() == 2);
  CHECK(there.ranks[0].rank == 1);
  CHECK(there.ranks[1].rank == 2);
  CHECK(there.ranks[1].reads_stdin);
  CHECK(there.ranks[1].program == program.id);
  CHECK(tree.expect<agent::ForgetProgram>(1).program == program.id);
}

TEST_CASE("hosts: a job ends with the results of the ranks of all hosts") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    tree.event(rank, EventType::initialized, static_cast<std::int32_t>(rank));
    tree.event(rank, EventType::finalized, static_cast<std::int32_t>(rank));
    tree.send(rank, exited(rank));
  }
  CHECK(tree.expect<agent::End>(agent::kEveryHost).grace_ms == 0);
  tree.finish();
  const LaunchResult& result = tree.result();
  CHECK(result.exit_code == 0);
  CHECK_FALSE(result.failure);
  CHECK(result.places == Ranks{0, 1});
  CHECK(result.hosts == std::vector<std::string>{"n0", "n1"});
  CHECK(result.states == std::vector{engine::RankState::finalized, engine::RankState::finalized});
  CHECK(result.ranks[1].exited);
}

TEST_CASE("hosts: a barrier that is reported again counts once") {
  // Host 0 has no ranks, but both hosts are below it.
  FakeTree tree(launch_on({0, 1, 1}));
  tree.start({0, 1, 1});
  for (const std::uint64_t barrier : {0U, 0U, 1U, 1U}) tree.event(0, EventType::barrier, -1, barrier);
  tree.settle();
  CHECK(tree.notice<engine::Event>().barrier == 0);
  CHECK(tree.notice<engine::Event>().barrier == 1);
  CHECK_FALSE(tree.take_notice<engine::Event>());
  tree.driver().stop({});
  tree.finish();
  CHECK(tree.result().barriers == 2);
}

TEST_CASE("hosts: the first rank that leaves is announced to the other hosts") {
  FakeTree tree(launch_on({2, 1, 1}));
  tree.start({2, 1, 1});
  for (std::int32_t rank = 0; rank < 4; ++rank)
    tree.event(static_cast<std::uint32_t>(std::max(rank - 1, 0)), EventType::initialized, rank);
  tree.event(0, EventType::finalized, 1);
  for (const std::uint32_t host : {1U, 2U}) {
    const auto depart = tree.expect<agent::Depart>(host);
    CHECK(depart.ranks == Ranks{1});
    CHECK_FALSE(depart.back);
  }
  // One is enough.
  tree.event(1, EventType::finalized, 2);
  tree.settle();
  for (const std::uint32_t host : {0U, 1U, 2U}) CHECK_FALSE(tree.take<agent::Depart>(host));

  // Each host with ranks in a barrier reports that they are stuck.
  tree.event(2, EventType::stuck, 1, 5);
  tree.event(0, EventType::stuck, 2, 5);
  tree.settle();
  int stuck = 0;
  while (const auto event = tree.take_notice<engine::Event>()) stuck += event->first.type == EventType::stuck;
  CHECK(stuck == 1);
  tree.driver().stop({});
  tree.finish();
  const auto& failure = tree.result().failure;
  REQUIRE(failure);
  CHECK(failure->reason == engine::FailureReason::early);
  CHECK(failure->rank == 1);
}

TEST_CASE("hosts: a rank that exits has left, and its own host gets a Depart too") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  // Its finalize could still follow, so this is decided a little later.
  tree.send(1, exited(1));
  for (const std::uint32_t host : {0U, 1U}) {
    const auto depart = tree.expect<agent::Depart>(host);
    CHECK(depart.ranks == Ranks{1});
    CHECK_FALSE(depart.back);
  }
}

TEST_CASE("hosts: under reconnect a rank that comes back is announced") {
  LaunchOptions options = launch_on({1, 2});
  options.group.group.reconnect = true;
  options.group.group.pmi = agent::PmiMode::port;
  options.policy = {.end_on_failure = false, .end_on_early_exit = false};
  FakeTree tree(std::move(options));
  tree.start({1, 2});
  for (std::int32_t rank = 1; rank < 3; ++rank) {
    tree.event(1, EventType::connected, rank);
    tree.event(1, EventType::initialized, rank);
    tree.event(1, EventType::finalized, rank);
  }
  tree.settle();
  CHECK_FALSE(tree.take<agent::Depart>(0));
  tree.send(1, exited(1));
  tree.send(1, exited(2));
  CHECK(tree.expect<agent::Depart>(0).ranks == Ranks{1});
  CHECK(tree.expect<agent::Depart>(1).ranks == Ranks{1});
  CHECK(tree.expect<agent::Depart>(1).ranks == Ranks{2});
  agent::EventRecord connected{.type = static_cast<std::uint8_t>(EventType::connected), .rank = 1};
  connected.again = true;
  tree.send(1, agent::Events{0, {connected}});
  const auto here = tree.expect<agent::Depart>(0);
  CHECK(here.back);
  CHECK(here.ranks == Ranks{1});
  const auto next = tree.expect<agent::Depart>(0);
  CHECK_FALSE(next.back);
  CHECK(next.ranks == Ranks{2});
  const auto there = tree.expect<agent::Depart>(1);
  CHECK(there.back);
  CHECK(there.ranks == Ranks{1});
}

TEST_CASE("hosts: signals go to the hosts of their ranks") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  tree.driver().signal(10, {2, 0});
  CHECK(tree.expect<agent::Signal>(0).tasks == Ranks{0});
  CHECK(tree.expect<agent::Signal>(1).tasks == Ranks{2});
  tree.driver().signal(12, {});
  for (const std::uint32_t host : {0U, 1U}) {
    const auto signal = tree.expect<agent::Signal>(host);
    CHECK(signal.signal == 12);
    CHECK(signal.tasks.empty());
  }
}

TEST_CASE("hosts: a signal that ends programs ends the job while hosts are being started") {
  FakeTree tree(launch_on({1, 1}));
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  tree.settle();
  tree.driver().signal(SIGUSR1, {});
  CHECK(tree.expect<agent::Signal>(0).signal == SIGUSR1);
  tree.driver().signal(SIGINT, {});
  CHECK(tree.expect<agent::End>(agent::kEveryHost).grace_ms == 0);
  tree.driver().signal(SIGTERM, {});
  tree.finish();
  const LaunchResult& result = tree.result();
  CHECK_FALSE(result.failure);
  CHECK(result.stopped);
  CHECK(result.exit_code == 128 + SIGINT);
}

TEST_CASE("hosts: pipes of ranks on other hosts go to the agent of the own host") {
  LaunchOptions options = launch_on({1, 2});
  std::vector<os::UniqueFd> ends;
  for (int rank = 0; rank < 3; ++rank) {
    os::FdPair pipe = os::make_pipe();
    ends.push_back(std::move(pipe.first));
    options.pipes.rank_out.push_back(std::move(pipe.second));
  }
  FakeTree tree(std::move(options));
  for (const std::uint32_t host : {0U, 1U}) {
    tree.ready(host);
    tree.send(host, agent::GroupReady{0});
  }
  const auto pipes = tree.expect<agent::TaskPipes>(0);
  CHECK(pipes.host == 1);
  CHECK(pipes.stream == 1);
  CHECK(pipes.tasks == Ranks{1, 2});
  CHECK(tree.fds.size() == 2);
  const auto here = tree.expect<agent::Start>(0);
  CHECK(here.ranks.at(0).fds == std::vector<std::int32_t>{1});
  CHECK(tree.fds.size() == 1);
  const auto there = tree.expect<agent::Start>(1);
  CHECK(there.ranks.at(1).fds == std::vector<std::int32_t>{1});
  CHECK(tree.fds.empty());
}

TEST_CASE("hosts: a singleton's connection goes to the agent of the own host") {
  LaunchOptions options = launch_on({1});
  options.group.programs.clear();
  options.singleton = Singleton{.port = 1, .pid = 77};
  os::FdPair connection = os::stream_pair();
  FakeTree tree(std::move(options), {.singleton = std::move(connection.first)});
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  const auto adopt = tree.expect<agent::AdoptRank>(0);
  CHECK(adopt.group == 0);
  CHECK(adopt.pid == 77);
  CHECK(tree.fds.size() == 1);
  CHECK(tree.notice<RankStarted>().pid == 77);
  tree.event(0, EventType::initialized, 0);
  tree.event(0, EventType::finalized, 0);
  tree.event(0, EventType::disconnected, 0);
  tree.notice<RankExited>();
  tree.expect<agent::End>(agent::kEveryHost);
  tree.finish();
  CHECK(tree.result().exit_code == 0);
}

TEST_CASE("hosts: a program with a string that is too long fails as a rank that cannot be started") {
  LaunchOptions options = launch_on({2});
  options.group.programs[0].args.emplace_back(2 << 20, 'x');
  FakeTree tree(std::move(options));
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  tree.expect<agent::End>(agent::kEveryHost);
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::spawn);
  CHECK(result.failure->value == E2BIG);
}

TEST_CASE("hosts: many ranks are asked for in several messages") {
  LaunchOptions options = launch_on({5000});
  FakeTree tree(std::move(options));
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  const auto first = tree.expect<agent::Start>(0);
  const auto second = tree.expect<agent::Start>(0);
  CHECK(first.ranks.size() + second.ranks.size() == 5000);
  CHECK(second.ranks.back().rank == 4999);
}

TEST_CASE("hosts: nodes on hosts that do not exist are refused") {
  LaunchOptions options = launch_on({1});
  options.group = group_on("first", {1, 1});
  CHECK_THROWS_AS(FakeTree(std::move(options)), std::invalid_argument);
}

}  // namespace wireup::runtime
