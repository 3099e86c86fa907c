// Queries of ranks on several hosts that the launcher answers: names, and barriers of barrier groups.
#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/support.h"
#include "runtime/fake_tree.h"
#include "runtime/name_server.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

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

}  // namespace wireup::runtime
