// How a launch starts its hosts, and what it does if it loses one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "runtime/fake_tree.h"

namespace wireup::runtime {

using namespace fakes;
using engine::EventType;

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

namespace {

// The host that each of the hosts is started by.
std::map<std::uint32_t, std::uint32_t> parents_in(FakeTree& tree, std::uint32_t hosts) {
  std::map<std::uint32_t, std::uint32_t> parents;
  for (std::uint32_t parent = 0; parent < hosts; ++parent) {
    while (const auto start = tree.take<agent::StartHost>(parent)) parents[start->host] = parent;
  }
  return parents;
}

}  // namespace

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

}  // namespace wireup::runtime
