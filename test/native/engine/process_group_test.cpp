// What transcripts cannot express: status, effects, and the driver's side of the contract.
#include <functional>
#include <stdexcept>

#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

TEST_CASE("process group: states and events of a rank") {
  ProcessGroup group(options(1));
  Effects effects;
  CHECK(group.rank_state(0) == RankState::absent);
  group.accept(3, peer(1000), kStart, effects);
  CHECK(group.rank_state(0) == RankState::absent);
  group.receive(3, "cmd=initack pmiid=100\n", effects);
  CHECK(group.rank_state(0) == RankState::connected);
  CHECK(sent(effects, 3) == "cmd=initack\ncmd=set size=1\ncmd=set rank=0\ncmd=set debug=0\n");
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::connected);
  CHECK(events(effects)[0].peer.pid == 7);
  effects.clear();

  group.receive(3, kInit, effects);
  CHECK(group.rank_state(0) == RankState::initialized);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::initialized);
  CHECK(events(effects)[0].version == 1);
  CHECK(events(effects)[0].subversion == 1);
  effects.clear();

  group.receive(3, "cmd=barrier_in\ncmd=barrier_in\n", effects);
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::barrier);
  CHECK(events(effects)[0].barrier == 0);
  CHECK(events(effects)[1].barrier == 1);
  CHECK(group.status().barrier.number == 2);
  effects.clear();

  group.receive(3, "cmd=finalize\n", effects);
  CHECK(group.rank_state(0) == RankState::finalized);
  CHECK(events(effects)[0].type == EventType::finalized);
  effects.clear();

  group.eof(3, effects);
  CHECK(group.rank_state(0) == RankState::finalized);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::disconnected);
  CHECK_FALSE(events(effects)[0].lost);
}

TEST_CASE("process group: replies on one connection are merged into one send") {
  ProcessGroup group(options(1));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, kInit, effects);
  effects.clear();
  group.receive(0, "cmd=get_appnum\ncmd=get_universe_size\n", effects);
  CHECK(effects.list().size() == 1);
  CHECK(sent(effects, 0) == "cmd=appnum appnum=0\ncmd=universe_size size=1\n");
}

TEST_CASE("process group: a line that is too long closes the connection, and the rank is lost") {
  ProcessGroup group(options(1));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, kInit, effects);
  effects.clear();
  group.receive(0, std::string(kMaxLine, 'x'), effects);
  CHECK(closed(effects, 0));
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::protocol_error);
  CHECK(events(effects)[1].type == EventType::disconnected);
  CHECK(events(effects)[1].lost);
}

TEST_CASE("process group: an mcmd block that is too long closes the connection") {
  ProcessGroup group(options(1));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, std::string(kInit) + "mcmd=spawn\n", effects);
  const std::string line = "info_val_0=" + std::string(1000, 'v') + "\n";
  std::size_t sent_bytes = 0;
  while (!closed(effects, 0) && sent_bytes < 2 * kMaxBlock) {
    group.receive(0, line, effects);
    sent_bytes += line.size();
  }
  CHECK(closed(effects, 0));
  CHECK(sent_bytes > kMaxBlock);
  CHECK(sent_bytes < kMaxBlock + 2 * line.size());
}

TEST_CASE("process group: universe size, appnum and mapping come from the options") {
  ProcessGroupOptions custom = options(2);
  custom.layout = Layout({{0, 0}, {1, 3}});
  custom.universe_size = 64;
  ProcessGroup group(std::move(custom));
  Effects effects;
  group.open_channel(0, 1);
  group.receive(0, kInit, effects);
  effects.clear();
  group.receive(0, "cmd=get_universe_size\ncmd=get_appnum\ncmd=get key=PMI_process_mapping\n", effects);
  CHECK(sent(effects, 0) ==
        "cmd=universe_size size=64\ncmd=appnum appnum=3\n"
        "cmd=get_result rc=0 msg=success value=(vector,(0,2,1))\n");
  CHECK(group.status().kvs_entries == 1);
}

TEST_CASE("process group: mistakes of the driver throw") {
  ProcessGroup group(options(2));
  Effects effects;
  group.open_channel(0, 0);
  CHECK_THROWS_AS(group.open_channel(1, 0), std::logic_error);
  CHECK_THROWS_AS(group.open_channel(0, 1), std::logic_error);
  CHECK_THROWS_AS(group.open_channel(1, 2), std::logic_error);
  CHECK_THROWS_AS(group.accept(0, peer(1000), kStart, effects), std::logic_error);
  group.receive(99, "cmd=init\n", effects);
  group.eof(99, effects);
  CHECK(effects.empty());
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a=b"), std::string("a\n"), std::string(256, 'n')}) {
    ProcessGroupOptions bad = options(1);
    bad.kvsname = name;
    CHECK_THROWS_AS(ProcessGroup{bad}, std::invalid_argument);
  }
}

TEST_CASE("process group: a refusal of the driver is reported and counted like one of the engine") {
  ProcessGroup group(options(2));
  Effects effects;
  group.reject(peer(1000), Refusal::system, "there is no room", effects);
  group.reject(Peer{}, Refusal::connected, "a channel too many", effects, 1);
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(events(effects)[0].peer.uid == 1000U);
  CHECK(events(effects)[0].rank == -1);
  CHECK(events(effects)[1].rank == 1);
  CHECK(events(effects)[1].message == "a channel too many");
  CHECK(group.status().rejected == 2);
}

TEST_CASE("process group: messages, bytes, invalid requests and refusals are counted") {
  ProcessGroup group(options(2));
  Effects effects;
  const auto requests = [&](wire::MessageId id) {
    return group.counters().requests[static_cast<std::size_t>(id)];
  };
  const auto refused = [&](Refusal kind) { return group.counters().refused[static_cast<std::size_t>(kind)]; };
  group.open_channel(0, 0);
  const std::string bytes = std::string(kInit) + "cmd=get_maxes\ncmd=get_maxes\ncmd=nonsense\ncmd=put\n";
  // Cut inside a message.
  group.receive(0, std::string_view(bytes).substr(0, 10), effects);
  CHECK(requests(wire::MessageId::init) == 0);
  group.receive(0, std::string_view(bytes).substr(10), effects);
  CHECK(requests(wire::MessageId::init) == 1);
  CHECK(requests(wire::MessageId::get_maxes) == 2);
  CHECK(requests(wire::MessageId::unknown_result) == 1);
  // It lacks its key.
  CHECK(requests(wire::MessageId::put) == 1);
  CHECK(group.counters().invalid == 2);
  CHECK(group.counters().received == bytes.size());
  group.accept(1, peer(7), TimePoint(), effects);
  group.accept(2, peer(1000), TimePoint(), effects);
  group.receive(2, "cmd=init pmi_version=1 pmi_subversion=1\n", effects);
  group.reject(peer(1000), Refusal::system, "there is no room", effects);
  CHECK(refused(Refusal::peer) == 1);
  CHECK(refused(Refusal::protocol) == 1);
  CHECK(refused(Refusal::system) == 1);
  CHECK(group.status().rejected == 3);
}

TEST_CASE("counters: a barrier is in the first bucket that is long enough, and sums add up") {
  Counters counters;
  counters.add_barrier(0);
  counters.add_barrier(kBarrierBuckets[0]);
  counters.add_barrier(kBarrierBuckets[0] + 1);
  counters.add_barrier(kBarrierBuckets.back() + 1);
  CHECK(counters.barriers.front() == 2);
  CHECK(counters.barriers[1] == 1);
  CHECK(counters.barriers.back() == 1);
  CHECK(counters.barrier_time == 2 * kBarrierBuckets[0] + 2 + kBarrierBuckets.back());
  counters.count(Refusal::timeout);
  Counters sum = counters;
  sum.add(counters);
  CHECK(sum.barriers.front() == 4);
  CHECK(sum.barrier_time == 2 * counters.barrier_time);
  CHECK(sum.refused[static_cast<std::size_t>(Refusal::timeout)] == 2);
}

TEST_CASE("process group: a connection id may be used again after its connection has ended") {
  ProcessGroup group(options(2));
  Effects effects;
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, "nonsense\n", effects);
  CHECK(closed(effects, 0));
  effects.clear();
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, "cmd=initack pmiid=101\n", effects);
  CHECK(group.rank_state(1) == RankState::connected);
  group.eof(0, effects);
  group.open_channel(0, 1);
  CHECK(group.rank_state(1) == RankState::connected);
}

TEST_CASE("process group: after kMaxBadRequests invalid requests the connection is closed, with the reason") {
  // An unknown command, a reserved key, a request after finalize, one before init, an unknown command in a
  // frame.
  const std::string_view init2 =
      "cmd=init pmi_version=2 pmi_subversion=0\n    35cmd=fullinit;pmirank=0;threaded=no;";
  const std::pair<std::string, std::string> floods[] = {
      {std::string(kInit), "cmd=foo\n"},
      {std::string(kInit), "cmd=put key=PMI_x value=y\n"},
      {std::string(kInit) + "cmd=finalize\n", "cmd=get key=x\n"},
      {"", "cmd=get key=x\n"},
      {std::string(init2), "     8cmd=foo;"},
  };
  for (const auto& flood : floods) {
    const std::string& wrong = flood.second;
    CAPTURE(wrong);
    ProcessGroup group(options(1));
    Effects effects;
    group.open_channel(0, 0);
    group.receive(0, flood.first, effects);
    REQUIRE_FALSE(closed(effects, 0));
    effects.clear();
    group.receive(0, repeated(wrong, kMaxBadRequests - 1), effects);
    CHECK_FALSE(closed(effects, 0));
    // The last one gets its reply too.
    effects.clear();
    group.receive(0, repeated(wrong, 3), effects);
    CHECK(closed(effects, 0));
    CHECK_FALSE(sent(effects, 0).empty());
    REQUIRE(events(effects).size() >= 2);
    CHECK(events(effects)[0].type == EventType::protocol_error);
    CHECK(events(effects)[1].type == EventType::disconnected);
    CHECK(events(effects)[1].message == "it sent 10000 invalid requests");
    effects.clear();
    group.receive(0, wrong, effects);
    CHECK(effects.empty());
  }
}

TEST_CASE("process group: a strict one closes the connection after an invalid message, and only then") {
  const std::string init(kInit);
  const struct {
    std::string sent;
    bool closes;
  } cases[] = {
      {init + "cmd=foo\n", true},
      {init + "mcmd=foo\nendcmd\n", true},
      {init + "cmd=put key=x\n", true},
      {init + "cmd=finalize\ncmd=get key=x\n", true},
      {"cmd=get key=x\n", true},
      // Errors for which RFC 13 has a code.
      {init + "cmd=get key=x\n", false},
      {init + "cmd=put key=PMI_x value=y\n", false},
      {init + "cmd=put key=" + std::string(kMaxKey, 'k') + " value=y\n", false},
  };
  for (const auto& row : cases) {
    CAPTURE(row.sent);
    for (const bool strict : {true, false}) {
      ProcessGroupOptions chosen = options(1);
      chosen.strict = strict;
      ProcessGroup group(std::move(chosen));
      Effects effects;
      group.open_channel(0, 0);
      group.receive(0, row.sent, effects);
      CHECK(closed(effects, 0) == (strict && row.closes));
      // The last message gets its reply.
      CHECK_FALSE(sent(effects, 0).empty());
    }
  }
}

TEST_CASE("process group: the mapping of a strict one is empty if it does not fit") {
  std::vector<Place> places;
  for (std::uint32_t rank = 0; rank < 1000; ++rank) places.push_back({.node = rank * 7 % 997, .appnum = 0});
  for (const bool strict : {true, false}) {
    ProcessGroupOptions chosen = options(1000);
    chosen.layout = Layout(places);
    chosen.strict = strict;
    ProcessGroup group(std::move(chosen));
    Effects effects;
    group.open_channel(0, 0);
    group.receive(0, std::string(kInit) + "cmd=get key=PMI_process_mapping\n", effects);
    CHECK(std::string_view(sent(effects, 0))
              .ends_with(strict ? "msg=success value=\n" : "msg=key_not_found\n"));
  }
}

TEST_CASE("process group: gets of missing keys are not invalid requests") {
  ProcessGroup group(options(1));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, kInit, effects);
  effects.clear();
  group.receive(0, repeated("cmd=get key=x\n", 2 * kMaxBadRequests), effects);
  CHECK(events(effects).empty());
  CHECK_FALSE(closed(effects, 0));
}

TEST_CASE("process group: `disconnected` has the reason if the server closed the connection") {
  const auto reason_after = [](const std::function<void(ProcessGroup&, Effects&)>& end) {
    ProcessGroup group(options(1));
    Effects effects;
    group.open_channel(0, 0);
    group.receive(0, kInit, effects);
    end(group, effects);
    REQUIRE(events(effects).back().type == EventType::disconnected);
    return events(effects).back().message;
  };
  CHECK(reason_after([](ProcessGroup& group, Effects& effects) { group.eof(0, effects); }).empty());
  CHECK(reason_after([](ProcessGroup& group, Effects& effects) {
          group.eof(0, effects, "it left replies unread");
        }) == "it left replies unread");
  CHECK(reason_after([](ProcessGroup& group, Effects& effects) {
          group.receive(0, std::string(kMaxLine, 'x'), effects);
        }) == "it sent a line of more than 2048 bytes");
  CHECK(reason_after([](ProcessGroup& group, Effects& effects) {
          group.receive(0, "mcmd=spawn\n" + repeated("a=" + std::string(1000, 'x') + "\n", kMaxBlock / 1000),
                        effects);
        }) == "it sent an mcmd command of more than 4194304 bytes");
}

TEST_CASE("process group: is_repeatable() is true for events that a rank can repeat") {
  ProcessGroupOptions custom = options(1);
  custom.auth.reconnect = true;
  ProcessGroup group(std::move(custom));
  Effects effects;
  const auto visit = [&] {
    effects.clear();
    group.accept(0, peer(1000), kStart, effects);
    group.receive(0, "cmd=initack pmiid=100\n" + std::string(kInit), effects);
    group.eof(0, effects);
    std::vector<bool> marks;
    for (const Event& event : events(effects)) marks.push_back(is_repeatable(event));
    return marks;
  };
  CHECK(visit() == std::vector{false, false, false});
  CHECK(visit() == std::vector{true, true, true});
  CHECK(is_repeatable({.type = EventType::barrier}));
  CHECK(is_repeatable({.type = EventType::rejected}));
  CHECK(is_repeatable({.type = EventType::protocol_error}));
  // With reconnect, a rank may run several programs.
  CHECK(is_repeatable({.type = EventType::finalized, .again = true}));
  CHECK_FALSE(is_repeatable({.type = EventType::finalized}));
  CHECK_FALSE(is_repeatable({.type = EventType::disconnected, .lost = true, .again = true}));
}

TEST_CASE("process group: only a rank's first abort is reported") {
  ProcessGroup group(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    group.open_channel(rank, rank);
    group.receive(
        rank,
        "cmd=abort exitcode=" + std::to_string(3 + rank) + "\n" + repeated("cmd=abort exitcode=9\n", 99),
        effects);
  }
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].exit_code == 3);
  CHECK(events(effects)[1].exit_code == 4);
}

}  // namespace
}  // namespace wireup::engine
