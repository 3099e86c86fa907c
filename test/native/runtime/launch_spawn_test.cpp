// Spawned process groups of launches over several hosts.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "runtime/fake_tree.h"

namespace wireup::runtime {

using namespace fakes;

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

}  // namespace wireup::runtime
