// The events, the status and the replies of barriers.
#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

TEST_CASE("process group: the status lists the ranks inside a barrier and the missing ones") {
  ProcessGroup group(options(3));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    group.open_channel(rank, rank);
    group.receive(rank, kInit, effects);
  }
  CHECK(group.status().barrier.inside.empty());
  CHECK(group.status().barrier.missing.empty());
  group.receive(1, "cmd=barrier_in\n", effects);
  CHECK(group.status().barrier.inside == Ranks{1});
  CHECK(group.status().barrier.missing == Ranks{0, 2});
  effects.clear();
  group.eof(1, effects);
  CHECK(events(effects)[0].lost);
  CHECK(group.status().barrier.inside.empty());
  CHECK(group.rank_state(1) == RankState::disconnected);
}

TEST_CASE("process group: entries of the first barriers are reported if they are asked for") {
  for (const std::uint64_t reported : {0, 1}) {
    ProcessGroupOptions with = options(2);
    with.reported_entries = reported;
    ProcessGroup group(with);
    Effects effects;
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      group.open_channel(rank, rank);
      group.receive(rank, kInit, effects);
    }
    effects.clear();
    for (int barrier = 0; barrier < 2; ++barrier) {
      group.receive(1, "cmd=barrier_in\n", effects);
      group.receive(0, "cmd=barrier_in\n", effects);
    }
    std::vector<std::pair<std::int32_t, std::uint64_t>> entries;
    for (const Event& event : events(effects)) {
      if (event.type == EventType::entered) entries.emplace_back(event.rank, event.barrier);
    }
    if (reported == 0) {
      CHECK(entries.empty());
    } else {
      CHECK(entries == decltype(entries){{1, 0}, {0, 0}});
      // An entry comes before the end of its barrier.
      CHECK(events(effects)[2].type == EventType::barrier);
    }
  }
}

TEST_CASE("process group: a barrier that can never complete is reported once") {
  const auto stuck = [](const Effects& effects) {
    std::vector<Event> found = events(effects);
    std::erase_if(found, [](const Event& event) { return event.type != EventType::stuck; });
    return found;
  };
  const char* const ways[] = {"finalize", "disconnect", "end"};
  for (const std::string way : ways) {
    for (const bool first : {true, false}) {
      CAPTURE(way);
      CAPTURE(first);
      ProcessGroup group(options(3));
      Effects effects;
      for (std::uint32_t rank = 0; rank < 3; ++rank) {
        group.open_channel(rank, rank);
        // A rank whose process ends before init has left too.
        if (rank != 1 || way != "end") group.receive(rank, kInit, effects);
      }
      const auto wait = [&] { group.receive(2, "cmd=barrier_in\n", effects); };
      if (!first) wait();
      CHECK(stuck(effects).empty());
      if (way == "finalize") group.receive(1, "cmd=finalize\n", effects);
      if (way == "disconnect") group.eof(1, effects);
      if (way == "end") group.depart(1, effects);
      if (first) wait();
      REQUIRE(stuck(effects).size() == 1);
      CHECK(stuck(effects)[0].rank == 1);
      CHECK(stuck(effects)[0].barrier == 0);
      CHECK(group.departed() == Ranks{1});
      effects.clear();
      group.receive(0, "cmd=barrier_in\n", effects);
      group.depart(1, effects);
      CHECK(stuck(effects).empty());
    }
  }
}

TEST_CASE(
    "process group: a rank whose channel ends before init has left; one that can connect again has not") {
  ProcessGroup group(options(3));
  Effects effects;
  group.open_channel(0, 0);
  group.open_channel(1, 1);
  group.accept(2, peer(1000), {}, effects);
  group.receive(2, "cmd=initack pmiid=102\n", effects);
  group.receive(0, kInit, effects);
  group.receive(0, "cmd=barrier_in\n", effects);
  group.eof(2, effects);
  CHECK(events(effects).back().type == EventType::disconnected);
  CHECK(group.departed().empty());
  group.eof(1, effects);
  REQUIRE(events(effects).back().type == EventType::stuck);
  CHECK(events(effects).back().rank == 1);
  CHECK(group.departed() == Ranks{1});
}

TEST_CASE("process group: `stuck` is not reported if no rank waits") {
  ProcessGroup group(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) group.open_channel(rank, rank);
  group.receive(0, kInit, effects);
  group.eof(1, effects);
  CHECK(events(effects).back().type == EventType::disconnected);
  group.receive(0, "cmd=finalize\n", effects);
  group.depart(1, effects);
  CHECK(events(effects).back().type == EventType::finalized);
}

TEST_CASE("process group: a rank with a new channel has not left") {
  ProcessGroup group(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    group.open_channel(rank, rank);
    group.receive(rank, kInit, effects);
  }
  group.eof(1, effects);
  group.receive(0, "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::stuck);
  group.open_channel(1, 1);
  CHECK(group.departed().empty());
  effects.clear();
  group.receive(1, std::string(kInit) + "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::barrier);
  group.eof(1, effects);
  group.receive(0, "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::stuck);
}

TEST_CASE("process group: `disconnected` has the barrier in which the rank waited") {
  ProcessGroup group(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    group.open_channel(rank, rank);
    group.receive(rank, std::string(kInit) + "cmd=barrier_in\n", effects);
  }
  group.receive(1, "cmd=barrier_in\n", effects);
  group.receive(1, "cmd=abort exitcode=3\n", effects);
  CHECK(events(effects).back().in_barrier);
  group.eof(1, effects);
  CHECK(events(effects).back().type == EventType::disconnected);
  CHECK(events(effects).back().in_barrier);
  CHECK(events(effects).back().barrier == 1);
}

TEST_CASE("process group: the reply to a barrier is stored once for all ranks") {
  constexpr std::uint32_t kSize = 100;
  ProcessGroup group(options(kSize));
  Effects effects;
  for (std::uint32_t rank = 0; rank < kSize; ++rank) {
    group.open_channel(rank, rank);
    group.receive(rank, kInit, effects);
  }
  effects.clear();
  for (std::uint32_t rank = 0; rank < kSize; ++rank) group.receive(rank, "cmd=barrier_in\n", effects);
  CHECK(effects.list().size() == kSize + 1);
  CHECK(effects.buffer() == "cmd=barrier_out\n");
  for (std::uint32_t rank = 0; rank < kSize; ++rank) CHECK(sent(effects, rank) == "cmd=barrier_out\n");
}

}  // namespace
}  // namespace wireup::engine
