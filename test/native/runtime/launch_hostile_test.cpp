// Launches with an agent on another host that sends what no correct agent does. The host is lost, so that
// such an agent cannot make the launcher queue more than a correct one.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/limits.h"
#include "runtime/fake_tree.h"
#include "wire/limits.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

namespace {

// Of host 1, whose ranks are 1 and 2.
agent::Events event_of(std::int32_t rank, EventType type, bool again = false, bool lost = false) {
  agent::EventRecord record{.type = static_cast<std::uint8_t>(type), .rank = rank};
  record.again = again;
  record.lost = lost;
  return {0, {record}};
}

agent::BarrierQuery barrier_query(std::string group, std::uint64_t number = 1) {
  agent::BarrierQuery query{.group = 0, .query = number, .rank = 1};
  query.barrier_group = std::move(group);
  return query;
}

template <typename Message>
std::vector<agent::Message> twice(const Message& message) {
  return {message, message};
}

template <typename Query>
std::vector<agent::Message> many(Query query) {
  std::vector<agent::Message> queries;
  for (std::uint64_t number = 0; number <= engine::kMaxDeferred; ++number) {
    query.query = number;
    queries.emplace_back(query);
  }
  return queries;
}

void expect_lost(FakeTree& tree, const std::string& what) {
  const std::string message = "its agent sent " + what;
  const auto lost = tree.notice<HostLost>();
  CHECK(lost.host == 1);
  CHECK(lost.message == message);
  CHECK(tree.expect<agent::DropHost>(1).message == message);
  tree.expect<agent::End>(agent::kEveryHost);
  // What it sends after that is ignored.
  tree.send(1, agent::Exited{.task = 2});
  tree.settle();
  CHECK_FALSE(tree.take_notice<HostLost>());
  while (const auto exited = tree.take_notice<RankExited>()) CHECK(exited->first.rank != 2);
  tree.send(0, agent::Exited{.task = 0, .ended = true});
  tree.finish();
  const auto& failure = tree.result().failure;
  REQUIRE(failure);
  CHECK(failure->reason == engine::FailureReason::host);
  CHECK(failure->value == 1);
  CHECK(failure->message == message);
}

}  // namespace

TEST_CASE("hostile host: before the ranks are started") {
  const std::string foreign = "a report on a rank that it does not have";
  const struct {
    const char* name;
    std::vector<agent::Message> messages;
    std::string what;
  } rows[] = {
      {"two readies", {agent::Ready{.pid = 1, .host = "x"}}, "an unexpected ready"},
      {"two servers", twice(agent::GroupReady{0}), "a second PMI server of a process group"},
      {"too many questions for the time",
       std::vector<agent::Message>(agent::kMaxClockQueries + 1, agent::ClockQuery{1}),
       "more questions for the time than it may"},
      {"a server that fails after it was there",
       {agent::GroupReady{0}, agent::GroupFailed{0, EMFILE, "socket", ""}},
       "an unexpected failure of a process group"},
      {"a start that was not asked for", {agent::Started{1, 1001, {}}}, foreign},
      {"an exit without a start", {agent::Exited{.task = 1}}, foreign},
      {"a failed start that was not asked for", {agent::StartFailed{1, ENOENT, "execve", "x"}}, foreign},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    FakeTree tree(launch_on({1, 2}));
    tree.ready(0);
    tree.ready(1);
    for (const agent::Message& message : row.messages) tree.send(1, message);
    expect_lost(tree, row.what);
  }
}

TEST_CASE("hostile host: impossible reports on ranks") {
  const std::string foreign = "a report on a rank that it does not have";
  const std::string query = "an invalid query, or one of a rank that it does not have";
  const std::string too_many = "more queries than a rank can have";
  const std::string impossible = "an event that cannot follow those before it";
  const struct {
    const char* name;
    std::vector<agent::Message> messages;
    std::string what;
  } rows[] = {
      {"a second start", {agent::Started{1, 7, {}}}, "an impossible start of a rank"},
      {"a failed start after a start",
       {agent::StartFailed{1, ENOENT, "execve", "x"}},
       "a failed start of a rank that it has reported before"},
      {"two exits", twice(agent::Exited{.task = 1}), "the exit of a rank that does not run"},
      {"the exit of another host's rank", {agent::Exited{.task = 0}}, foreign},
      {"the start of another host's rank", {agent::Started{0, 7, {}}}, foreign},
      {"the exit of no rank", {agent::Exited{.task = 77}}, foreign},
      {"two inits", twice(event_of(1, EventType::initialized)), impossible},
      {"two finalizes", twice(event_of(1, EventType::finalized)), impossible},
      {"two ends of the first connection", twice(event_of(1, EventType::disconnected)), impossible},
      {"two losses", twice(event_of(1, EventType::disconnected, true, true)), impossible},
      {"a barrier of hosts that are not below it", {event_of(-1, EventType::barrier)}, foreign},
      {"an event of another host's rank", {event_of(0, EventType::initialized)}, foreign},
      {"an event of no rank", {event_of(17, EventType::initialized)}, "an invalid event"},
      {"an unknown event", {event_of(1, static_cast<EventType>(99))}, "an invalid event"},
      {"missed events of an unknown type", {agent::EventsMissed{200, 1}}, "an unknown type of events"},
      {"a report on the terminal", {agent::Printed{}}, "a report on a terminal that it does not have"},
      {"a spawn of another host's rank", {agent::SpawnQuery{.group = 0, .query = 1, .rank = 0}}, query},
      {"a look-up of another host's rank", {agent::NameQuery{.group = 0, .query = 1, .rank = 0}}, query},
      {"a name that is too long",
       {agent::NameQuery{.group = 0,
                         .query = 1,
                         .rank = 1,
                         .operation = 2,
                         .service = std::string(wire::kMaxFrame + 1, 'x'),
                         .port = {}}},
       query},
      {"a barrier of no rank",
       {agent::BarrierQuery{.group = 0, .query = 1, .rank = 9, .barrier_group = "0-1"}},
       query},
      {"too many spawns", many(agent::SpawnQuery{.group = 0, .query = 0, .rank = 1}), too_many},
      {"a barrier with a long name", {barrier_query(std::string(wire::kMaxLine + 1, '0'))}, too_many},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    FakeTree tree(launch_on({1, 2}));
    tree.start({1, 2});
    for (const agent::Message& message : row.messages) tree.send(1, message);
    expect_lost(tree, row.what);
  }
}

TEST_CASE("hostile host: a rank in more barriers than an agent lets it enter") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  for (std::uint64_t number = 0; number < engine::kMaxDeferred; ++number)
    tree.send(1, barrier_query("0-1:" + std::to_string(number), number));
  // A rank that leaves a barrier may enter another one.
  agent::BarrierQuery own{.group = 0, .query = 1, .rank = 0};
  own.barrier_group = "0-1:5";
  tree.send(0, own);
  CHECK(tree.expect<agent::BarrierAnswer>(1).query == 5);
  tree.send(1, barrier_query("0-1:1000", 1000));
  tree.settle();
  CHECK_FALSE(tree.take_notice<HostLost>());
  tree.send(1, barrier_query("0-1:1001", 1001));
  expect_lost(tree, "more queries than a rank can have");
}

TEST_CASE("hostile host: what it replies to an inspection") {
  const agent::InspectedRank fine{.rank = 1};
  agent::InspectedRank foreign{.rank = 0};
  agent::InspectedRank in_no_state{.rank = 1};
  in_no_state.pmi = 9;
  agent::InspectedRank with_long_name{.rank = 1};
  with_long_name.name = std::string(agent::kMaxInspectedText + 1, 'x');
  agent::InspectedRank with_long_stack{.rank = 1};
  with_long_stack.stack = std::string(agent::kMaxStack + 1, 'x');
  const std::string invalid = "invalid facts of a rank";
  const struct {
    const char* name;
    std::vector<agent::InspectedRank> ranks;
    std::string what;
  } rows[] = {
      {"another host's rank", {foreign}, "a report on a rank that it does not have"},
      {"no rank", {{.rank = 77}}, "a report on a rank that it does not have"},
      {"an unknown state", {in_no_state}, invalid},
      {"a long name", {with_long_name}, invalid},
      {"a long stack", {with_long_stack}, invalid},
      {"many ranks", {fine, fine, fine}, "facts of more ranks than it has"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    FakeTree tree(launch_on({1, 2}));
    tree.start({1, 2});
    tree.driver().inspect(1, {1}, true);
    tree.send(1, agent::InspectReply{tree.expect<agent::Inspect>(1).id, row.ranks, false});
    expect_lost(tree, row.what);
  }
}

TEST_CASE("hosts: an answered query makes room for another one") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  for (std::uint64_t number = 0; number < 3 * engine::kMaxDeferred; ++number) {
    tree.send(1, agent::SpawnQuery{.group = 0, .query = number, .rank = 1});
    tree.driver().answer_spawn(tree.notice<engine::SpawnQuery>().id, {.rc = -1});
    tree.send(1, agent::NameQuery{.group = 0, .query = number, .rank = 1, .operation = 2});
    CHECK(tree.expect<agent::NameAnswer>(1).query == number);
  }
  tree.settle();
  CHECK_FALSE(tree.take_notice<HostLost>());
}

TEST_CASE("hosts: what a rank may repeat under reconnect counts as repeated") {
  LaunchOptions options = launch_on({1, 2});
  options.group.group.reconnect = true;
  options.group.group.pmi = agent::PmiMode::port;
  options.policy = {.end_on_failure = false, .end_on_early_exit = false};
  FakeTree tree(std::move(options));
  tree.start({1, 2});
  for (int i = 0; i < 3; ++i) {
    tree.send(1, event_of(1, EventType::connected, i > 0));
    tree.send(1, event_of(1, EventType::initialized, i > 0));
    tree.send(1, event_of(1, EventType::finalized));
    tree.send(1, event_of(1, EventType::disconnected, i > 0));
  }
  tree.settle();
  CHECK_FALSE(tree.take_notice<HostLost>());
  std::vector<bool> again;
  while (const auto event = tree.take_notice<engine::Event>()) {
    if (event->first.type == EventType::finalized) again.push_back(event->first.again);
  }
  CHECK(again == std::vector<bool>{false, true, true});
}

TEST_CASE("hosts: the texts of events have a limit") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  agent::Events events = event_of(1, EventType::protocol_error);
  events.events[0].message = std::string(1 << 20, 'x');
  events.events[0].peer.host = events.events[0].message;
  tree.send(1, events);
  const auto event = tree.notice<engine::Event>();
  CHECK(event.message.size() == 4096);
  CHECK(event.peer.host.size() == 4096);
}

TEST_CASE("hosts: output that is lost on another host is reported with its name") {
  FakeTree tree(launch_on({1, 2}));
  tree.start({1, 2});
  tree.send(1, agent::OutputLost{ENOSPC, "/tmp/out.1"});
  tree.expect<agent::End>(agent::kEveryHost);
  tree.finish();
  const auto& failure = tree.result().failure;
  REQUIRE(failure);
  CHECK(failure->reason == engine::FailureReason::output);
  CHECK(failure->message == "/tmp/out.1 on n1");
}

}  // namespace wireup::runtime
