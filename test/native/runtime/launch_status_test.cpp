// Status queries and inspections of launches over several hosts, and what they add to a failure.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine_messages.h"
#include "runtime/fake_tree.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

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
  // The lost host is awaited no more.
  CHECK(reply.awaited == std::vector<std::string>{"n2"});
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

}  // namespace wireup::runtime
