// Which connections a process group accepts, refuses, and accepts again.
#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

using std::chrono::milliseconds;

TEST_CASE("admission: a connection of another uid is closed unread") {
  ProcessGroup group(options(1));
  Effects effects;
  group.accept(5, peer(1001), kStart, effects);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(events(effects)[0].peer.uid == 1001U);
  CHECK(events(effects)[0].message.find("1001") != std::string::npos);
  CHECK(closed(effects, 5));
  CHECK(group.status().rejected == 1);
  CHECK_FALSE(group.deadline());
  effects.clear();
  group.receive(5, "cmd=initack pmiid=100\n", effects);
  group.eof(5, effects);
  CHECK(effects.empty());
}

TEST_CASE("admission: a silent connection is closed at its deadline") {
  ProcessGroup group(options(2));
  Effects effects;
  group.accept(1, peer(1000), kStart, effects);
  group.accept(2, peer(1000), kStart, effects);
  group.receive(2, "cmd=initack pmiid=100\n", effects);
  CHECK(group.deadline() == kStart + milliseconds(10'000));
  effects.clear();
  group.tick(kStart + milliseconds(9'999), effects);
  CHECK(effects.empty());
  group.tick(kStart + milliseconds(10'000), effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(closed(effects, 2));
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK_FALSE(group.deadline());
}

TEST_CASE("admission: a refused connection has no deadline") {
  ProcessGroup group(options(1));
  Effects effects;
  group.accept(1, peer(1000), kStart, effects);
  group.receive(1, "cmd=initack pmiid=5\n", effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(group.deadline());
  effects.clear();
  group.tick(kStart + std::chrono::hours(1), effects);
  CHECK(effects.empty());
}

TEST_CASE("admission: a full source loses its oldest connection, and an event reports it") {
  ProcessGroupOptions few = options(1);
  few.auth.slots = 1;
  ProcessGroup group(few);
  Effects effects;
  group.accept(1, peer(1000), kStart, effects);
  CHECK(group.status().unidentified == 1);
  group.accept(2, peer(1000), kStart + few.auth.eviction_age, effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(closed(effects, 2));
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(group.status().unidentified == 1);
  effects.clear();
  group.receive(1, "cmd=initack pmiid=100\n", effects);
  group.eof(1, effects);
  CHECK(effects.empty());
  group.receive(2, "cmd=initack pmiid=100\n", effects);
  CHECK(group.rank_state(0) == RankState::connected);
}

TEST_CASE(
    "admission: after several wrong PMI_IDs a connection gets no reply, is ignored, and is closed later") {
  ProcessGroup group(options(1));
  Effects effects;
  for (ConnectionId connection = 1; connection <= 4; ++connection) {
    effects.clear();
    group.accept(connection, peer(1000), kStart, effects);
    group.receive(connection, "cmd=initack pmiid=5\n", effects);
    REQUIRE(events(effects).size() == 1);
    CHECK(sent(effects, connection).empty());
    CHECK(closed(effects, connection) == (connection < 4));
  }
  effects.clear();
  group.receive(4, "cmd=initack pmiid=100\n", effects);
  CHECK(effects.empty());
  // The delay does not affect another connection.
  group.accept(5, peer(1000), kStart, effects);
  group.receive(5, "cmd=initack pmiid=100\n", effects);
  CHECK(group.rank_state(0) == RankState::connected);
  effects.clear();
  REQUIRE(group.deadline());
  group.tick(*group.deadline(), effects);
  CHECK(closed(effects, 4));
  CHECK(events(effects).empty());
  CHECK(group.status().rejected == 4);
  CHECK_FALSE(group.deadline());
}

// Two initialized ranks that have put a key. Rank 0 has connection 0.
struct Reconnecting {
  Reconnecting() : group(make()) {
    for (const ConnectionId connection : {0U, 1U}) connect(connection, connection);
    request(0, kInit);
    request(1, kInit);
    request(0, "cmd=put kvsname=kvs key=k value=v\n");
  }
  static ProcessGroupOptions make() {
    ProcessGroupOptions two = options(2);
    two.auth.reconnect = true;
    return two;
  }
  void connect(ConnectionId connection, std::uint32_t rank) {
    group.accept(connection, peer(1000), kStart, effects);
    group.receive(connection, "cmd=initack pmiid=" + std::to_string(100 + rank) + "\n", effects);
  }
  std::string request(ConnectionId connection, std::string_view line) {
    effects.clear();
    group.receive(connection, line, effects);
    return sent(effects, connection);
  }
  void barrier() {
    request(0, "cmd=barrier_in\n");
    request(1, "cmd=barrier_in\n");
    REQUIRE(group.status().barrier.number == 1);
  }
  void leave(ConnectionId connection) {
    effects.clear();
    group.eof(connection, effects);
  }
  Effects effects;
  ProcessGroup group;
};

TEST_CASE("reconnect: before its first barrier a rank may start again, and its keys stay") {
  Reconnecting two;
  two.leave(0);
  REQUIRE(events(two.effects).size() == 1);
  CHECK_FALSE(events(two.effects)[0].lost);
  two.effects.clear();
  two.connect(5, 0);
  CHECK(two.group.rank_state(0) == RankState::connected);
  CHECK(two.request(5, kInit) == "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
  CHECK(two.request(5, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
  two.request(1, "cmd=barrier_in\n");
  CHECK(two.request(5, "cmd=barrier_in\n") == "cmd=barrier_out\n");
}

TEST_CASE("reconnect: after a barrier a rank resumes, and cannot start again") {
  Reconnecting two;
  two.barrier();
  two.leave(0);
  two.effects.clear();
  two.connect(5, 0);
  CHECK(two.group.rank_state(0) == RankState::initialized);
  CHECK(two.request(5, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
  CHECK(two.request(5, kInit) ==
        "cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=-1 "
        "msg=a_rank_cannot_start_again_after_a_barrier\n");
  REQUIRE(events(two.effects).size() == 1);
  CHECK(events(two.effects)[0].type == EventType::protocol_error);
  two.request(1, "cmd=barrier_in\n");
  CHECK(two.request(5, "cmd=barrier_in\n") == "cmd=barrier_out\n");
  CHECK(two.request(5, "cmd=finalize\n") == "cmd=finalize_ack\n");
  two.leave(5);
  two.effects.clear();
  two.connect(6, 0);
  CHECK(closed(two.effects, 6));
}

TEST_CASE("reconnect: a rank started by a launcher may start another program until its process has ended") {
  Reconnecting two;
  two.group.started_by(42);
  two.barrier();
  CHECK(two.request(0, "cmd=finalize\n") == "cmd=finalize_ack\n");
  CHECK(two.group.departed().empty());
  two.leave(0);
  // The barrier waits and is not reported as stuck.
  CHECK(two.request(1, "cmd=barrier_in\n").empty());
  CHECK(events(two.effects).empty());
  two.effects.clear();
  two.connect(5, 0);
  CHECK(two.request(5, kInit) == "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
  CHECK(two.request(5, "cmd=put kvsname=kvs key=k value=other\n") == "cmd=put_result rc=0 msg=success\n");
  CHECK(two.request(5, "cmd=barrier_in\n") == "cmd=barrier_out\n");
  CHECK(two.request(5, "cmd=finalize\n") == "cmd=finalize_ack\n");
  two.leave(5);
  CHECK(two.request(1, "cmd=barrier_in\n").empty());
  two.effects.clear();
  two.group.depart(0, two.effects);
  REQUIRE(events(two.effects).size() == 1);
  CHECK(events(two.effects)[0].type == EventType::stuck);
  two.effects.clear();
  two.connect(6, 0);
  CHECK(closed(two.effects, 6));
}

TEST_CASE("reconnect: a second connection of a connected rank is refused") {
  Reconnecting two;
  two.effects.clear();
  two.connect(5, 0);
  CHECK(closed(two.effects, 5));
  CHECK(two.request(0, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
}

TEST_CASE("reconnect: a rank of PMI-2 cannot reconnect after a barrier") {
  ProcessGroupOptions again = options(1);
  again.auth.reconnect = true;
  ProcessGroup group(again);
  Effects effects;
  const std::string start = std::string(kInit2) + frame("cmd=fullinit;pmirank=100;");
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, start, effects);
  group.eof(0, effects);
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, start + frame("cmd=kvs-fence;"), effects);
  CHECK_FALSE(closed(effects, 0));
  group.eof(0, effects);
  effects.clear();
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, start, effects);
  CHECK(closed(effects, 0));
  effects.clear();
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, "cmd=initack pmiid=100\n", effects);
  CHECK_FALSE(closed(effects, 0));
}

}  // namespace
}  // namespace wireup::engine
