// Launches over several hosts, with the agents played by the test.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "os/support.h"
#include "runtime/engine_messages.h"
#include "runtime/fake_tree.h"
#include "runtime/name_server.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

namespace {

using Ranks = std::vector<std::uint32_t>;

agent::Exited exited(std::uint32_t task, std::int32_t code = 0) {
  agent::Exited message{.task = task};
  message.value = code;
  return message;
}

agent::Exited ended(std::uint32_t task) {
  return {.task = task, .signaled = true, .value = 15, .ended = true};
}

agent::GroupStatus status_of(std::uint32_t group, std::vector<std::uint8_t> ranks, std::uint64_t barrier,
                             Ranks inside) {
  agent::GroupStatus status;
  status.group = group;
  status.ranks = std::move(ranks);
  status.barrier = barrier;
  status.inside = std::move(inside);
  return status;
}

}  // namespace

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
  // The other host's report is later, and its time is earlier.
  agent::EventRecord record{.type = static_cast<std::uint8_t>(EventType::barrier), .rank = -1};
  record.time_ns = to_ns(at(50));
  tree.send(1, agent::Events{0, {record}});
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
  CHECK(result.barrier_times.at(0) == doctest::Approx(0.050));
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

TEST_CASE("hosts: a barrier that several hosts report counts once") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  for (const std::uint64_t barrier : {0U, 1U}) {
    tree.event(1, EventType::barrier, -1, barrier);
    tree.event(0, EventType::barrier, -1, barrier);
  }
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

TEST_CASE("hosts: a status is complete when all hosts have replied, in any order") {
  FakeTree tree(launch_on({1, 2, 1}));
  tree.start({1, 2, 1});
  tree.driver().query_status(7);
  std::vector<std::uint32_t> ids;
  for (std::uint32_t host = 0; host < 3; ++host) ids.push_back(tree.expect<agent::QueryStatus>(host).id);
  auto last = status_of(0, {2}, 3, {3});
  last.rejected = 2;
  last.kvs_entries = 5;
  tree.send(2, agent::StatusReply{ids[2], {last}});
  auto first = status_of(0, {2}, 2, {0});  // the release has not arrived yet
  first.rejected = 1;
  first.kvs_entries = 9;
  first.barrier_groups = {{4, {0}, {}}};
  first.open_barrier_groups = 1;
  tree.send(0, agent::StatusReply{ids[0], {first}});
  tree.settle();
  CHECK_FALSE(tree.take_notice<StatusReply>());
  tree.send(1, agent::StatusReply{ids[1], {status_of(0, {3, 1}, 3, {1})}});
  const auto reply = tree.notice<StatusReply>();
  CHECK(reply.request == 7);
  const engine::ProcessGroupStatus& status = reply.groups.at(0);
  using enum engine::RankState;
  CHECK(status.ranks == std::vector{initialized, finalized, connected, initialized});
  CHECK(status.barrier.number == 3);
  CHECK(status.barrier.inside == Ranks{1, 3});
  CHECK(status.barrier.missing == Ranks{0, 2});
  CHECK(status.rejected == 3);
  CHECK(status.kvs_entries == 9);
  CHECK(status.open_group_barriers == 1);
  REQUIRE(status.group_barriers.size() == 1);
  CHECK(status.group_barriers[0].tag == 4);
}

TEST_CASE("hosts: the counters of a status are sums, and those that are not valid are left out") {
  FakeTree tree(launch_on({1, 1, 1}));
  tree.start({1, 1, 1});
  tree.driver().query_status(7);
  engine::Counters counters;
  counters.received = 5;
  counters.add_barrier(1);
  for (std::uint32_t host = 0; host < 3; ++host) {
    agent::StatusReply reply{tree.expect<agent::QueryStatus>(host).id, {}, to_message(counters)};
    reply.counters.kvs_bytes = 10 + host;
    reply.counters.turns = 2;
    if (host == 2) reply.counters.requests.pop_back();
    tree.send(host, reply);
  }
  const Totals totals = tree.notice<StatusReply>().totals;
  CHECK(totals.counters.received == 10);
  CHECK(totals.counters.barriers[0] == 2);
  CHECK(totals.counters.barrier_time == 2);
  CHECK(totals.kvs_bytes == 11);
  CHECK(totals.turns == 4);
  CHECK(totals.barriers == 0);
}

TEST_CASE("hosts: a status does not wait for a host that is lost, nor for one that is not there yet") {
  FakeTree tree(launch_on({1, 1, 1}));
  tree.ready(0);
  tree.ready(1);
  tree.settle();
  tree.driver().query_status(1);
  tree.send(0, agent::StatusReply{tree.expect<agent::QueryStatus>(0).id, {status_of(0, {1}, 0, {})}});
  tree.settle();
  CHECK_FALSE(tree.take<agent::QueryStatus>(2));
  CHECK_FALSE(tree.take_notice<StatusReply>());
  tree.send(0, agent::HostLost{1, true, "gone"});
  const auto reply = tree.notice<StatusReply>();
  using enum engine::RankState;
  CHECK(reply.groups.at(0).ranks == std::vector{connected, absent, absent});
}

TEST_CASE("hosts: an inspection asks the hosts of the ranks that run, and joins their replies") {
  FakeTree tree(launch_on({1, 2, 1}));
  tree.start({1, 2, 1});
  tree.send(2, exited(3));
  tree.settle();
  tree.driver().inspect(7, {0, 1, 2, 3}, true);
  const auto first = tree.expect<agent::Inspect>(0);
  CHECK(first.ranks == Ranks{0});
  CHECK(first.stacks == 1);
  CHECK(first.interval_ms > 0);
  const auto second = tree.expect<agent::Inspect>(1);
  CHECK(second.ranks == Ranks{1, 2});
  CHECK(second.stacks == 2);
  CHECK_FALSE(tree.take<agent::Inspect>(2));
  tree.send(1, agent::InspectReply{second.id, {{.rank = 2, .name = "b"}}, false});
  tree.send(1, agent::InspectReply{99, {{.rank = 2, .name = "c"}}, true});
  tree.send(0, agent::InspectReply{first.id, {{.rank = 0, .name = "a"}}, true});
  tree.settle();
  CHECK_FALSE(tree.take_notice<Inspection>());
  tree.send(1, agent::InspectReply{second.id, {{.rank = 1, .name = "d"}}, true});
  const auto inspection = tree.notice<Inspection>();
  CHECK(inspection.request == 7);
  REQUIRE(inspection.ranks.size() == 3);
  for (std::uint32_t rank = 0; rank < 3; ++rank) CHECK(inspection.ranks[rank].rank == rank);
  CHECK(inspection.ranks[1].name == "d");
  tree.driver().inspect(8, {3}, false);
  CHECK(tree.notice<Inspection>().ranks.empty());
}

TEST_CASE("hosts: an inspection does not wait for a host that is lost") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.driver().inspect(1, {0, 1}, false);
  const auto query = tree.expect<agent::Inspect>(0);
  CHECK(query.stacks == 0);
  tree.send(0, agent::InspectReply{query.id, {{.rank = 0}}, true});
  tree.send(0, agent::HostLost{1, true, "gone"});
  CHECK(tree.notice<Inspection>().ranks.size() == 1);
}

TEST_CASE("hosts: at the startup limit the late ranks are asked for before the job is ended") {
  LaunchOptions options = launch_on({1, 1});
  options.startup_timeout = std::chrono::milliseconds(300);
  FakeTree tree(std::move(options));
  tree.start({1, 1});
  tree.event(0, EventType::initialized, 0);
  const auto query = tree.expect<agent::Inspect>(1);
  CHECK(query.ranks == Ranks{1});
  CHECK(query.interval_ms == 0);
  CHECK_FALSE(tree.take<agent::Inspect>(0));
  tree.send(1, agent::InspectReply{query.id, {{.rank = 1, .name = "late"}}, true});
  tree.expect<agent::End>(agent::kEveryHost);
  tree.send(0, ended(0));
  tree.send(1, ended(1));
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::startup);
  REQUIRE(result.late.size() == 1);
  CHECK(result.late[0].name == "late");
}

TEST_CASE("hosts: a malformed part of a status counts as missing") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.event(1, EventType::initialized, 1);
  tree.settle();
  tree.driver().query_status(1);
  tree.send(0, agent::StatusReply{tree.expect<agent::QueryStatus>(0).id, {status_of(0, {9}, 0, {})}});
  tree.send(1, agent::StatusReply{tree.expect<agent::QueryStatus>(1).id, {status_of(0, {0, 0}, 0, {})}});
  const auto reply = tree.notice<StatusReply>();
  using enum engine::RankState;
  CHECK(reply.groups.at(0).ranks == std::vector{connected, initialized});
}

TEST_CASE("hosts: a lost host ends the job, and its ranks count as ended") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  for (std::int32_t rank = 0; rank < 3; ++rank) tree.event(rank == 0 ? 0 : 1, EventType::initialized, rank);
  tree.event(0, EventType::barrier, -1, 0);
  tree.send(0, agent::HostLost{1, true, "no sign for 5 s"});
  const auto lost = tree.notice<HostLost>();
  CHECK(lost.host == 1);
  CHECK(lost.name == "n1");
  CHECK(lost.message == "no sign for 5 s");
  CHECK(lost.ranks == Ranks{1, 2});
  CHECK(tree.expect<agent::End>(agent::kEveryHost).grace_ms == 5000);
  // Reports of a lost host are ignored.
  tree.send(1, exited(1, 3));
  tree.settle();
  CHECK_FALSE(tree.take_notice<RankExited>());
  tree.send(0, ended(0));
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::host);
  CHECK(result.failure->value == 1);
  CHECK(result.failure->message == "no sign for 5 s");
  CHECK(result.failure->barrier == 1U);
  CHECK(result.exit_code == 1);
  CHECK(result.victims == 1);
  CHECK_FALSE(result.ranks[1].exited);
  CHECK(result.ranks[1].ended);
}

TEST_CASE("hosts: if a host cannot be started, no rank is") {
  FakeTree tree(launch_on({1, 1}));
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  tree.send(0, agent::HostLost{1, false, "ssh: no route"});
  const auto lost = tree.notice<HostLost>();
  CHECK_FALSE(lost.started);
  CHECK(lost.message == "ssh: no route");
  tree.expect<agent::End>(agent::kEveryHost);
  tree.settle();
  CHECK_FALSE(tree.take<agent::Start>(0));
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::host);
  CHECK_FALSE(result.failure->started);
  CHECK(result.failure->message == "ssh: no route");
  CHECK(result.ranks[0].pid == 0);
}

// The host that each of the hosts is started by.
std::map<std::uint32_t, std::uint32_t> parents_in(FakeTree& tree, std::uint32_t hosts) {
  std::map<std::uint32_t, std::uint32_t> parents;
  for (std::uint32_t parent = 0; parent < hosts; ++parent) {
    while (const auto start = tree.take<agent::StartHost>(parent)) parents[start->host] = parent;
  }
  return parents;
}

TEST_CASE("hosts: each host starts as many others as the width of the tree") {
  const struct {
    std::uint32_t width;
    std::map<std::uint32_t, std::uint32_t> parents;
  } rows[] = {
      {0, {{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}}},
      {1, {{1, 0}, {2, 1}, {3, 2}, {4, 3}, {5, 4}, {6, 5}}},
      {2, {{1, 0}, {2, 0}, {3, 1}, {4, 1}, {5, 2}, {6, 2}}},
      {6, {{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.width);
    LaunchOptions options = launch_on(std::vector<std::uint32_t>(7, 1));
    options.tree_width = row.width;
    FakeTree tree(std::move(options));
    tree.settle();
    // An agent starts no host before it is greeted.
    for (std::uint32_t host = 0; host < 7; ++host) {
      const std::vector<std::uint8_t> kinds = tree.kinds_to(host);
      const auto hello = std::ranges::find(kinds, agent::kind_of<agent::Hello>());
      const auto start = std::ranges::find(kinds, agent::kind_of<agent::StartHost>());
      CHECK(hello != kinds.end());
      CHECK(hello < start);
    }
    CHECK(parents_in(tree, 7) == row.parents);
  }
}

TEST_CASE("hosts: a host that is started from another one gets the program of the agent there") {
  LaunchOptions options = launch_on({1, 1, 1});
  for (HostOptions& host : options.hosts) host.stage = "/staged";
  options.tree_width = 1;
  FakeTree tree(std::move(options));
  CHECK(tree.expect<agent::StartHost>(0).stage == "/staged");
  CHECK(tree.expect<agent::StartHost>(1).stage == "/proc/self/exe");
}

TEST_CASE("hosts: spawned process groups extend the tree") {
  LaunchOptions options = launch_on({1, 0, 0, 1});
  options.tree_width = 1;
  FakeTree tree(std::move(options));
  tree.start({1, 0, 0, 1});
  CHECK(parents_in(tree, 4) == std::map<std::uint32_t, std::uint32_t>{{3, 0}});
  tree.driver().spawn(1, {.spawner = {}, .group = group_on("second", {0, 1, 1, 0})});
  tree.settle();
  CHECK(parents_in(tree, 4) == std::map<std::uint32_t, std::uint32_t>{{1, 3}, {2, 1}});
}

TEST_CASE("hosts: the reason of a loss names the host through which the host is reached") {
  LaunchOptions options = launch_on({1, 1, 1, 1});
  options.tree_width = 1;
  FakeTree tree(std::move(options));
  tree.ready(1);
  tree.send(1, agent::HostLost{2, false, "ssh: no route"});
  tree.send(1, agent::HostLost{3, false, "ssh: no route"});
  CHECK(tree.notice<HostLost>().message == "from n1: ssh: no route");
  CHECK(tree.notice<HostLost>().message == "host n2, through which it is reached, was lost");
}

TEST_CASE("hosts: a host that does not answer in time is named with all others that have not answered") {
  FakeTree tree(launch_on(std::vector<std::uint32_t>(21, 1)));
  tree.ready(2);
  tree.send(0, agent::HostLost{1, false, "no answer within 60 s", true});
  CHECK(tree.notice<HostLost>().message ==
        "no answer within 60 s; no answer of n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n13, n14, n15, n16, "
        "n17, n18 and 2 more either");
  FakeTree alone(launch_on({1, 1}));
  alone.send(0, agent::HostLost{1, false, "no answer within 60 s", true});
  CHECK(alone.notice<HostLost>().message == "no answer within 60 s");
}

TEST_CASE("hosts: a second loss, and the loss of a host that is none, change nothing") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.send(0, agent::HostLost{0, true, "the own one"});
  tree.send(0, agent::HostLost{2, true, "none"});
  tree.settle();
  CHECK_FALSE(tree.take_notice<HostLost>());
  tree.send(0, agent::HostLost{1, true, "first"});
  tree.send(0, agent::HostLost{1, true, "second"});
  tree.settle();
  CHECK(tree.notice<HostLost>().message == "first");
  CHECK_FALSE(tree.take_notice<HostLost>());
}

TEST_CASE("hosts: without a PMI server on the own host the launch is refused") {
  FakeTree tree(launch_on({1, 1}));
  tree.ready(0);
  tree.send(0, agent::GroupFailed{0, EACCES, "bind", "/s"});
  const auto error = tree.notice<Error>();
  CHECK(error.code == "ERR_PMI_LISTEN");
  CHECK(error.error == EACCES);
  CHECK(error.syscall == "bind");
  tree.wait_for_end();
  CHECK_FALSE(tree.has_result());
  CHECK_FALSE(tree.take_notice<AgentReady>());
}

TEST_CASE("hosts: without descriptors or with invalid options the launch is refused with their code") {
  FakeTree limited(launch_on({1}));
  limited.send(0, agent::GroupFailed{0, EMFILE, "socket", ""});
  CHECK(limited.notice<Error>().code == "ERR_PMI_FD_LIMIT");
  limited.wait_for_end();
  FakeTree invalid(launch_on({1}));
  invalid.send(0, agent::GroupFailed{0, EINVAL, "", "kvsname: expected less"});
  const auto error = invalid.notice<Error>();
  CHECK(error.code == "ERR_PMI_OPTION");
  CHECK(error.message == "kvsname: expected less");
  invalid.wait_for_end();
}

TEST_CASE("hosts: without a PMI server on another host its ranks cannot be started") {
  FakeTree tree(launch_on({1, 1}));
  tree.ready(0);
  tree.send(0, agent::GroupReady{0});
  tree.ready(1);
  tree.send(1, agent::GroupFailed{0, EMFILE, "socket", ""});
  tree.expect<agent::End>(agent::kEveryHost);
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::spawn);
  CHECK(result.failure->rank == 1);
  CHECK(result.failure->value == EMFILE);
}

TEST_CASE("hosts: the answer to a spawn goes to the host that has asked") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  // Both hosts use the same number for their query.
  for (const std::uint32_t host : {0U, 1U}) {
    agent::SpawnQuery query{.group = 0, .query = 1, .rank = host};
    query.commands = {{.program = "child", .args = {}, .ranks = 2, .info = {}}};
    tree.send(host, query);
  }
  const auto first = tree.notice<engine::SpawnQuery>();
  const auto second = tree.notice<engine::SpawnQuery>();
  CHECK(first.rank == 0);
  CHECK(second.rank == 1);
  tree.driver().answer_spawn(first.id, {.rc = -1, .message = "refused"});
  CHECK(tree.expect<agent::SpawnAnswer>(0).message == "refused");

  tree.driver().spawn(1, {{second.id, {0, 0}}, group_on("second", {1, 1})});
  for (const std::uint32_t host : {0U, 1U}) {
    tree.expect<agent::Group>(host);
    const auto group = tree.expect<agent::Group>(host);
    CHECK(group.number == 1);
    CHECK(group.first_task == 2);
    tree.send(host, agent::GroupReady{1});
  }
  for (const std::uint32_t host : {0U, 1U}) {
    CHECK(tree.expect<agent::Start>(host).group == 1);
    tree.started(host, 2 + host);
  }
  CHECK(tree.notice_of<GroupSpawned>().second == 1);
  const auto answer = tree.expect<agent::SpawnAnswer>(1);
  CHECK(answer.query == 1);
  CHECK(answer.rc == 0);
  CHECK(answer.kvsname == "second");
  CHECK(answer.errcodes == std::vector<std::int32_t>{0, 0});

  for (const std::uint32_t host : {0U, 1U}) tree.send(host, exited(2 + host));
  // An exit without finalize is decided a little later.
  CHECK(tree.notice_of<GroupEnded>().second == 1);
  for (const std::uint32_t host : {0U, 1U}) CHECK(tree.expect<agent::ForgetGroup>(host).group == 1);
}

TEST_CASE("hosts: a spawned group whose server cannot be made on one host is not started at all") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.send(1, agent::SpawnQuery{.group = 0, .query = 9, .rank = 1});
  const auto query = tree.notice<engine::SpawnQuery>();
  tree.driver().spawn(1, {{query.id, {0, 0}}, group_on("second", {1, 1})});
  tree.send(0, agent::GroupReady{1});
  tree.send(1, agent::GroupFailed{1, 0, "", "the space is full"});
  const auto [failure, group] = tree.notice_of<SpawnFailure>();
  CHECK(group == 1);
  CHECK(failure.message == "on n1: the space is full");
  const auto answer = tree.expect<agent::SpawnAnswer>(1);
  CHECK(answer.query == 9);
  CHECK(answer.rc != 0);
  CHECK(tree.expect<agent::ForgetGroup>(0).group == 1);
  tree.settle();
  CHECK_FALSE(tree.take<agent::End>(agent::kEveryHost));
}

TEST_CASE("hosts: a spawned group of which one rank cannot be started is ended on all hosts") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.send(0, agent::SpawnQuery{.group = 0, .query = 3, .rank = 0});
  const auto query = tree.notice<engine::SpawnQuery>();
  tree.driver().spawn(1, {{query.id, {0, 0}}, group_on("second", {1, 1})});
  for (const std::uint32_t host : {0U, 1U}) tree.send(host, agent::GroupReady{1});
  for (const std::uint32_t host : {0U, 1U}) tree.expect<agent::Start>(host);
  tree.started(0, 2);
  tree.send(1, agent::StartFailed{3, ENOENT, "execve", "child"});
  CHECK(tree.expect<agent::SpawnAnswer>(0).message == "no_such_program");
  const auto kill = tree.expect<agent::Signal>(0);
  CHECK(kill.signal == 9);
  CHECK(kill.tasks == Ranks{2});
  CHECK_FALSE(tree.take<agent::End>(agent::kEveryHost));
}

namespace {

// A job with a rank on host 0 only, whose rank asks for a group with ranks on both hosts.
engine::QueryId ask_for_second(FakeTree& tree) {
  tree.start({1});
  CHECK_FALSE(tree.take<agent::StartHost>(0));
  tree.send(0, agent::SpawnQuery{.group = 0, .query = 3, .rank = 0});
  return tree.notice<engine::SpawnQuery>().id;
}

LaunchOptions launch_with_spare_host() {
  LaunchOptions options = launch_on({1, 1});
  options.group = group_on("kvs", {1});
  return options;
}

}  // namespace

TEST_CASE("hosts: a host without ranks is started when ranks are spawned on it") {
  FakeTree tree(launch_with_spare_host());
  const engine::QueryId query = ask_for_second(tree);
  tree.driver().spawn(1, {{query, {0, 0}}, group_on("second", {1, 1})});
  CHECK(tree.expect<agent::StartHost>(0).host == 1);
  tree.send(0, agent::GroupReady{1});
  tree.ready(1);
  CHECK(tree.notice<HostStarted>().own_name == "kernel");
  CHECK(tree.expect<agent::Hello>(1).host == 1);
  for (const std::uint32_t number : {0U, 1U}) CHECK(tree.expect<agent::Group>(1).number == number);
  tree.send(1, agent::GroupReady{0});
  tree.send(1, agent::GroupReady{1});
  for (const std::uint32_t host : {0U, 1U}) {
    CHECK(tree.expect<agent::Start>(host).group == 1);
    tree.started(host, 1 + host);
  }
  CHECK(tree.expect<agent::SpawnAnswer>(0).rc == 0);
  // The host is started once.
  tree.send(0, agent::SpawnQuery{.group = 0, .query = 4, .rank = 0});
  tree.driver().spawn(2, {{tree.notice<engine::SpawnQuery>().id, {0}}, group_on("third", {0, 1})});
  CHECK(tree.expect<agent::Group>(1).number == 2);
  CHECK_FALSE(tree.take<agent::StartHost>(0));
  // Its loss is a failure of the job now.
  tree.send(0, agent::HostLost{1, true, "gone"});
  tree.expect<agent::End>(agent::kEveryHost);
}

TEST_CASE("hosts: a host that cannot be started fails the spawns that need it, and not the job") {
  FakeTree tree(launch_with_spare_host());
  tree.driver().spawn(1, {{ask_for_second(tree), {0, 0}}, group_on("second", {1, 1})});
  tree.expect<agent::StartHost>(0);
  tree.send(0, agent::GroupReady{1});
  tree.send(0, agent::HostLost{1, false, "ssh: no route"});
  CHECK(tree.notice<SpawnFailure>().message == "host n1 could not be started: ssh: no route");
  CHECK(tree.expect<agent::SpawnAnswer>(0).rc == -1);
  tree.send(0, agent::SpawnQuery{.group = 0, .query = 4, .rank = 0});
  tree.driver().spawn(2, {{tree.notice<engine::SpawnQuery>().id, {0, 0}}, group_on("third", {1, 1})});
  CHECK(tree.notice<SpawnFailure>().message == "host n1 is lost");
  CHECK(tree.expect<agent::SpawnAnswer>(0).query == 4);
  tree.settle();
  CHECK_FALSE(tree.take<agent::End>(agent::kEveryHost));
}

TEST_CASE("hosts: names are known on all hosts, until their process group is forgotten") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  tree.send(0, agent::SpawnQuery{.group = 0, .query = 1, .rank = 0});
  tree.driver().spawn(1, {{tree.notice<engine::SpawnQuery>().id, {0}}, group_on("second", {1})});
  tree.send(0, agent::GroupReady{1});
  tree.expect<agent::Start>(0);
  tree.started(0, 2);
  agent::NameQuery publish{.group = 1, .query = 4, .rank = 0, .operation = 0};
  publish.service = "ocean";
  publish.port = "port";
  tree.send(0, publish);
  const auto published = tree.expect<agent::NameAnswer>(0);
  CHECK(published.group == 1);
  CHECK(published.query == 4);
  CHECK(published.error == 0);
  agent::NameQuery lookup{.group = 0, .query = 5, .rank = 1, .operation = 2};
  lookup.service = "ocean";
  tree.send(1, lookup);
  CHECK(tree.expect<agent::NameAnswer>(1).port == "port");
  tree.send(0, exited(2));
  tree.expect<agent::ForgetGroup>(0);
  tree.send(1, lookup);
  CHECK(tree.expect<agent::NameAnswer>(1).error == static_cast<std::uint8_t>(engine::NameError::not_found));
}

TEST_CASE("hosts: with a name server its answers go to the host that has asked, unless the launch is gone") {
  os::Reactor reactor;
  const os::test::TemporaryFolder folder;
  const wire::UnixAddress address{folder / "names", false};
  ListenOptions listen;
  listen.address = address;
  const NameServer names(reactor, listen, [](engine::Peer, std::string) {});
  NameClient client(reactor, address, "kvs");
  bool open = false;
  client.open([&](std::optional<Error> error) { open = !error; });
  os::test::run_until(reactor, [&] { return open; });
  agent::NameQuery query{.group = 0, .query = 5, .rank = 1, .operation = 0};
  query.service = "ocean";
  query.port = "port";
  {
    FakeTree tree(launch_on({1, 1}), {.reactor = &reactor, .names = &client});
    tree.start({1, 1});
    tree.send(1, query);
    CHECK(tree.expect<agent::NameAnswer>(1).query == 5);
    query.operation = 2;
    tree.send(1, query);
    CHECK(tree.expect<agent::NameAnswer>(1).port == "port");
    // The client asks the server when the launcher has read the message.
    tree.send(1, query);
    tree.send(1, agent::SpawnQuery{.group = 0, .query = 1, .rank = 1});
    tree.notice<engine::SpawnQuery>();
  }
  std::optional<engine::NameAnswer> answer;
  client.ask({engine::NameOperation::lookup, "ocean"},
             [&](const engine::NameAnswer& found) { answer = found; });
  os::test::run_until(reactor, [&] { return answer.has_value(); });
  CHECK(answer->port == "port");
}

TEST_CASE("hosts: barriers of barrier groups that span hosts") {
  FakeTree tree(launch_on({2, 1}));
  tree.start({2, 1});
  const auto enter = [&](std::uint32_t host, std::uint32_t rank, std::uint64_t query, std::string group) {
    agent::BarrierQuery message{.group = 0, .query = query, .rank = rank};
    message.barrier_group = std::move(group);
    tree.send(host, message);
  };
  enter(0, 0, 1, "0,2:5");
  enter(0, 1, 1, "0-2");
  tree.settle();
  CHECK_FALSE(tree.take<agent::BarrierAnswer>(0));
  enter(1, 2, 8, "2,0:5");
  const auto here = tree.expect<agent::BarrierAnswer>(0);
  CHECK(here.query == 1);
  CHECK(here.complete);
  const auto there = tree.expect<agent::BarrierAnswer>(1);
  CHECK(there.query == 8);
  CHECK(there.complete);

  tree.driver().query_status(1);
  for (const std::uint32_t host : {0U, 1U})
    tree.send(host, agent::StatusReply{tree.expect<agent::QueryStatus>(host).id, {}});
  const auto status = tree.notice<StatusReply>().groups.at(0);
  REQUIRE(status.group_barriers.size() == 1);
  CHECK(status.group_barriers[0].inside == Ranks{1});
  CHECK(status.group_barriers[0].missing == Ranks{0, 2});

  tree.event(1, EventType::initialized, 2);
  tree.event(1, EventType::finalized, 2);
  const auto failed = tree.expect<agent::BarrierAnswer>(0);
  CHECK_FALSE(failed.complete);
  CHECK(failed.gone == 2);
  enter(0, 1, 2, "WORLD");
  CHECK_FALSE(tree.expect<agent::BarrierAnswer>(0).complete);
}

TEST_CASE("hosts: the status of an early exit is asked for before the job is ended") {
  FakeTree tree(launch_on({1, 1}));
  tree.start({1, 1});
  for (std::int32_t rank = 0; rank < 2; ++rank)
    tree.event(static_cast<std::uint32_t>(rank), EventType::initialized, rank);
  tree.event(1, EventType::finalized, 1);
  tree.event(0, EventType::stuck, 1, 2);
  const auto query = tree.expect<agent::QueryStatus>(0);
  CHECK(tree.take<agent::QueryStatus>(1));
  tree.send(1, agent::StatusReply{query.id, {status_of(0, {3}, 2, {})}});
  tree.send(0, agent::StatusReply{query.id, {status_of(0, {2}, 2, {0})}});
  tree.expect<agent::End>(agent::kEveryHost);
  tree.send(0, ended(0));
  tree.send(1, ended(1));
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::early);
  REQUIRE(result.status);
  CHECK(result.status->barrier.number == 2);
  CHECK(result.status->barrier.inside == Ranks{0});
  CHECK(result.status->barrier.missing == Ranks{1});
  CHECK(result.departed == Ranks{1});
}

TEST_CASE("hosts: a result does not wait for a status that does not come") {
  LaunchOptions options = launch_on({1, 1});
  options.timeout = std::chrono::milliseconds(1);
  FakeTree tree(std::move(options));
  tree.ready(0);
  tree.expect<agent::QueryStatus>(0);
  tree.expect<agent::End>(agent::kEveryHost);
  tree.finish();
  const LaunchResult& result = tree.result();
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::timeout);
  REQUIRE(result.status);
  CHECK(result.status->ranks.size() == 2);
}

TEST_CASE("hosts: at the startup limit the status decides whether the first barrier holds ranks up") {
  for (const bool inside : {false, true}) {
    LaunchOptions options = launch_on({1, 1});
    options.startup_timeout = std::chrono::milliseconds(300);
    FakeTree tree(std::move(options));
    tree.start({1, 1});
    for (std::int32_t rank = 0; rank < 2; ++rank)
      tree.event(static_cast<std::uint32_t>(rank), EventType::initialized, rank);
    const auto query = tree.expect<agent::QueryStatus>(0);
    tree.send(0, agent::StatusReply{query.id, {status_of(0, {2}, 0, inside ? Ranks{0} : Ranks{})}});
    tree.send(1, agent::StatusReply{query.id, {status_of(0, {2}, 0, {})}});
    tree.settle();
    CHECK(tree.take<agent::End>(agent::kEveryHost).has_value() == inside);
  }
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
