// Process groups with ranks on other hosts.
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

#include "engine/process_group_support.h"
#include "wire/key_values.h"

namespace wireup::engine {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string keys_text(const Entries& entries) {
  std::string text;
  for (const auto& [key, value] : entries) wire::append_key_value(text, key, value);
  return text;
}

Entries entries_in(std::string_view text) {
  Entries entries;
  wire::KeyValueReader reader(text);
  while (const auto entry = reader.next()) entries.emplace_back(entry->first, entry->second);
  CHECK(reader.done());
  std::ranges::sort(entries);
  return entries;
}

// Ranks 0 and 1 are here on one node, ranks 2 and 3 elsewhere.
ProcessGroupOptions half_of_four() {
  ProcessGroupOptions result = options(4);
  result.layout = Layout::by_node(4, 2);
  result.elsewhere = {false, false, true, true};
  result.auth.pmi_ids = {PmiId(100), PmiId(101), PmiId(std::string()), PmiId(std::string())};
  return result;
}

struct HalfGroup {
  explicit HalfGroup(ProcessGroupOptions options = half_of_four(), std::string_view init = kInit)
      : group(std::move(options)) {
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      group.open_channel(rank, rank);
      group.receive(rank, init, effects);
    }
    effects.clear();
  }

  // Both ranks that are here enter the barrier. Returns the keys of the query.
  Entries fence() {
    effects.clear();
    group.receive(0, "cmd=barrier_in\n", effects);
    CHECK(effects.empty());
    group.receive(1, "cmd=barrier_in\n", effects);
    const auto asked = queries<FenceQuery>(effects);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].number == group.barrier().number());
    CHECK(effects.list().size() == 1);
    effects.clear();
    return entries_in(asked[0].keys);
  }

  std::string reply(ConnectionId connection, std::string_view request) {
    effects.clear();
    group.receive(connection, request, effects);
    return sent(effects, connection);
  }

  ProcessGroup group;
  Effects effects;
};

std::string put_line(const std::string& key, const std::string& value) {
  return "cmd=put kvsname=kvs key=" + key + " value=" + value + "\n";
}

std::string get_line(const std::string& key) { return "cmd=get kvsname=kvs key=" + key + "\n"; }

constexpr std::string_view kOut = "cmd=barrier_out\n";
constexpr std::string_view kPutDone = "cmd=put_result rc=0 msg=success\n";
constexpr std::string_view kNotFound = "cmd=get_result rc=-1 msg=key_not_found\n";

TEST_CASE("elsewhere: invalid options throw, and a rank that is elsewhere has no connection") {
  struct {
    const char* what;
    void (*change)(ProcessGroupOptions&);
  } const cases[] = {
      {"too few entries", [](ProcessGroupOptions& options) { options.elsewhere.pop_back(); }},
      {"no rank is here", [](ProcessGroupOptions& options) { options.elsewhere.assign(4, true); }},
      {"a PMI_ID of a rank that is elsewhere",
       [](ProcessGroupOptions& options) { options.auth.pmi_ids[2] = PmiId(102); }},
      {"no PMI_ID of a rank that is here",
       [](ProcessGroupOptions& options) { options.auth.pmi_ids[1] = PmiId(std::string()); }},
  };
  for (const auto& row : cases) {
    CAPTURE(row.what);
    ProcessGroupOptions wrong = half_of_four();
    row.change(wrong);
    CHECK_THROWS_AS(ProcessGroup(std::move(wrong)), std::invalid_argument);
  }
  HalfGroup world;
  CHECK_THROWS_AS(world.group.open_channel(2, 2), std::logic_error);
  world.group.accept(2, peer(1000), kStart, world.effects);
  world.group.receive(2, "cmd=initack pmiid=\n", world.effects);
  CHECK(closed(world.effects, 2));
  CHECK(world.group.status().rejected == 1);
}

TEST_CASE("elsewhere: without a rank elsewhere a barrier is no query") {
  ProcessGroupOptions all_here = options(2);
  all_here.elsewhere = {false, false};
  HalfGroup world(all_here);
  world.group.receive(0, put_line("k", "v") + "cmd=barrier_in\n", world.effects);
  world.effects.clear();
  world.group.receive(1, "cmd=barrier_in\n", world.effects);
  CHECK(queries<FenceQuery>(world.effects).empty());
  CHECK(sent(world.effects, 0) == kOut);
  CHECK(world.group.finish_fence(1, "", world.effects) ==
        "barrier 1 is not the one that waits for the other hosts");
}

TEST_CASE("elsewhere: a barrier takes new keys to the other hosts, each once, and brings theirs") {
  HalfGroup world;
  CHECK(world.reply(0, put_line("a", "1") + put_line("a", "2") + put_line("b", "3")) ==
        std::string(kPutDone) + std::string(kPutDone) + std::string(kPutDone));
  CHECK(world.reply(1, get_line("a")) == "cmd=get_result rc=0 msg=success value=2\n");
  CHECK(world.fence() == Entries{{"a", "2"}, {"b", "3"}});
  // A put while the barrier waits belongs to the next one.
  CHECK(world.reply(0, put_line("b", "4")) == kPutDone);
  CHECK(world.reply(0, get_line("c")) == kNotFound);
  world.effects.clear();
  CHECK(world.group.finish_fence(0, keys_text({{"c", "5"}, {"d", ""}}), world.effects) == "");
  CHECK(sent(world.effects, 0) == kOut);
  CHECK(sent(world.effects, 1) == kOut);
  REQUIRE(events(world.effects).size() == 1);
  CHECK(events(world.effects)[0].type == EventType::barrier);
  CHECK(events(world.effects)[0].barrier == 0);
  CHECK(world.reply(1, get_line("c") + get_line("d")) ==
        "cmd=get_result rc=0 msg=success value=5\ncmd=get_result rc=0 msg=success value=\n");
  CHECK(world.fence() == Entries{{"b", "4"}});
  CHECK(world.group.finish_fence(1, keys_text({{"c", "6"}}), world.effects) == "");
  CHECK(world.reply(1, get_line("c")) == "cmd=get_result rc=0 msg=success value=6\n");
  CHECK(world.fence().empty());
  CHECK(world.group.finish_fence(2, "", world.effects) == "");
  CHECK(world.group.barrier().number() == 3);
}

TEST_CASE("elsewhere: an invalid end of a barrier changes nothing") {
  const Entries valid{{"k", "v"}};
  const struct {
    std::uint64_t number;
    std::string keys;
    std::string error;
  } rows[] = {
      {1, "", "barrier 1 is not the one that waits for the other hosts"},
      {0, keys_text(valid) + "x", "malformed keys and values"},
      {0, keys_text(valid).substr(1), "malformed keys and values"},
      {0, keys_text({{"k", "v"}, {"", "v"}}), "a key that no rank can put"},
      {0, keys_text({{"k", "v"}, {std::string(64, 'k'), "v"}}), "a key that no rank can put"},
      {0, keys_text({{"k", "v"}, {"a\nb", "v"}}), "a key that no rank can put"},
      {0, keys_text({{"k", "v"}, {"PMI_process_mapping", "v"}}), "a key that belongs to the server"},
      {0, keys_text({{"k", "v"}, {"l", std::string(1024, 'v')}}), "a value that no rank can put"},
      {0, keys_text({{"k", "v"}, {"l", std::string("\0", 1)}}), "a value that no rank can put"},
  };
  HalfGroup world;
  CHECK(world.group.finish_fence(0, "", world.effects) ==
        "barrier 0 is not the one that waits for the other hosts");
  world.fence();
  for (const auto& row : rows) {
    CAPTURE(row.error);
    CHECK(world.group.finish_fence(row.number, row.keys, world.effects) == row.error);
    CHECK(world.effects.empty());
    CHECK(world.reply(0, get_line("k")) == kNotFound);
    world.effects.clear();
  }
  const Entries longest{{std::string(63, 'k'), std::string(1023, ' ')}};
  CHECK(world.group.finish_fence(0, keys_text(longest), world.effects) == "");
  CHECK(sent(world.effects, 0) == kOut);
}

TEST_CASE("elsewhere: keys of other hosts are stored in a full space, and count") {
  ProcessGroupOptions small = half_of_four();
  small.space = std::make_shared<Space>(2 * kEntryCost + 64);
  HalfGroup world(small);
  // The same key again and again takes no further space.
  for (std::uint64_t number = 0; number < 10; ++number) {
    world.fence();
    CHECK(world.group.finish_fence(number, keys_text({{"k", "v"}}), world.effects) == "");
  }
  world.fence();
  const Entries many{{"l", "1"}, {"m", "2"}, {"n", std::string(500, '3')}};
  CHECK(world.group.finish_fence(10, keys_text(many), world.effects) == "");
  CHECK(world.reply(0, get_line("m")) == "cmd=get_result rc=0 msg=success value=2\n");
  CHECK(world.reply(0, put_line("o", "4")).ends_with(" msg=too_many_keys_and_values\n"));
  CHECK(world.fence().empty());
}

TEST_CASE("elsewhere: each rank gets the reply of its version of PMI") {
  ProcessGroup group(half_of_four());
  Effects effects;
  group.open_channel(0, 0);
  group.open_channel(1, 1);
  group.receive(0, "cmd=init pmi_version=1 pmi_subversion=2\ncmd=barrier_in group=WORLD\n", effects);
  group.receive(1,
                std::string(kInit2) + frame("cmd=fullinit;pmirank=1;") + frame("cmd=kvs-put;key=k;value=v;"),
                effects);
  effects.clear();
  group.receive(1, frame("cmd=kvs-fence;thrid=7;"), effects);
  REQUIRE(queries<FenceQuery>(effects).size() == 1);
  CHECK(entries_in(queries<FenceQuery>(effects)[0].keys) == Entries{{"k", "v"}});
  effects.clear();
  CHECK(group.finish_fence(0, "", effects) == "");
  CHECK(sent(effects, 0) == "cmd=barrier_out rc=0 tag=0\n");
  CHECK(sent(effects, 1) == frame("cmd=kvs-fence-response;thrid=7;rc=0;"));
}

TEST_CASE("elsewhere: the entry of a rank whose connection ends before the release stands") {
  ProcessGroupOptions again = half_of_four();
  again.auth.reconnect = true;
  const auto come_back = [](HalfGroup& world) {
    world.group.accept(5, peer(1000), kStart, world.effects);
    world.group.receive(5, "cmd=initack pmiid=101\n", world.effects);
    if (world.group.barrier().number() == 0) world.group.receive(5, kInit, world.effects);
    world.effects.clear();
  };
  SUBCASE("it enters again before the release") {
    HalfGroup world(again);
    world.fence();
    world.group.eof(1, world.effects);
    REQUIRE(events(world.effects).size() == 1);
    CHECK(events(world.effects)[0].in_barrier);
    CHECK(world.group.status().barrier.inside == Ranks{0, 1});
    come_back(world);
    CHECK(world.reply(5, "cmd=barrier_in\n") == "");
    CHECK(world.effects.empty());
    CHECK(world.reply(5, "cmd=barrier_in\n") == "cmd=barrier_out rc=-1 msg=already_in_barrier\n");
    world.effects.clear();
    CHECK(world.group.finish_fence(0, "", world.effects) == "");
    CHECK(sent(world.effects, 0) == kOut);
    CHECK(sent(world.effects, 5) == kOut);
  }
  SUBCASE("it enters again after the release") {
    HalfGroup world(again);
    world.fence();
    world.group.eof(1, world.effects);
    world.effects.clear();
    CHECK(world.group.finish_fence(0, "", world.effects) == "");
    CHECK(sent(world.effects, 0) == kOut);
    CHECK(world.reply(0, "cmd=barrier_in\n") == "");
    come_back(world);
    CHECK(world.reply(5, "cmd=barrier_in\n") == kOut);
    CHECK(queries<FenceQuery>(world.effects).empty());
    CHECK(world.group.status().barrier.missing == Ranks{1});
    // Now it is in the same barrier as the other rank.
    CHECK(world.reply(5, "cmd=barrier_in\n") == "");
    REQUIRE(queries<FenceQuery>(world.effects).size() == 1);
    CHECK(queries<FenceQuery>(world.effects)[0].number == 1);
    world.effects.clear();
    CHECK(world.group.finish_fence(1, "", world.effects) == "");
    CHECK(sent(world.effects, 0) == kOut);
    CHECK(sent(world.effects, 5) == kOut);
  }
  SUBCASE("all ranks are gone at the release") {
    HalfGroup world(again);
    world.fence();
    world.group.eof(0, world.effects);
    world.group.eof(1, world.effects);
    CHECK(world.group.status().barrier.inside == Ranks{0, 1});
    world.effects.clear();
    CHECK(world.group.finish_fence(0, keys_text({{"k", "v"}}), world.effects) == "");
    CHECK(world.effects.list().size() == 1);
    CHECK(world.group.status().barrier.inside.empty());
    come_back(world);
    CHECK(world.reply(5, get_line("k") + "cmd=barrier_in\n") ==
          "cmd=get_result rc=0 msg=success value=v\n" + std::string(kOut));
  }
}

TEST_CASE("elsewhere: a rank leaves a barrier that not all ranks here have entered, as on one host") {
  ProcessGroupOptions again = half_of_four();
  again.auth.reconnect = true;
  HalfGroup world(again);
  world.group.receive(1, "cmd=barrier_in\n", world.effects);
  world.group.eof(1, world.effects);
  CHECK(world.group.status().barrier.inside.empty());
  CHECK(world.reply(0, "cmd=barrier_in\n") == "");
  CHECK(queries<FenceQuery>(world.effects).empty());
  CHECK(world.group.status().barrier.missing == Ranks{1});
}

TEST_CASE("elsewhere: ranks are stuck if a rank anywhere has left") {
  const auto stuck = [](HalfGroup& world) {
    std::vector<Event> found = events(world.effects);
    std::erase_if(found, [](const Event& event) { return event.type != EventType::stuck; });
    world.effects.clear();
    return found;
  };
  SUBCASE("elsewhere, before or after the ranks here have entered") {
    HalfGroup world;
    world.group.depart(3, world.effects);
    CHECK(world.effects.empty());
    world.group.receive(0, "cmd=barrier_in\n", world.effects);
    std::vector<Event> reported = stuck(world);
    REQUIRE(reported.size() == 1);
    CHECK(reported[0].rank == 3);
    CHECK(reported[0].barrier == 0);
    CHECK(world.group.departed() == Ranks{3});
    world.group.receive(1, "cmd=barrier_in\n", world.effects);
    world.group.depart(3, world.effects);
    CHECK(stuck(world).empty());
    // It is back, and leaves again.
    world.group.come_back(3);
    world.group.come_back(3);
    CHECK(world.group.departed().empty());
    world.group.depart(2, world.effects);
    reported = stuck(world);
    REQUIRE(reported.size() == 1);
    CHECK(reported[0].rank == 2);
  }
  SUBCASE("elsewhere, and the only rank here enters") {
    ProcessGroupOptions one = options(2);
    one.elsewhere = {false, true};
    one.auth.pmi_ids.clear();
    ProcessGroup group(one);
    Effects effects;
    group.open_channel(0, 0);
    group.depart(1, effects);
    group.receive(0, std::string(kInit) + "cmd=barrier_in\n", effects);
    CHECK(events(effects).back().type == EventType::stuck);
  }
  SUBCASE("here, after all ranks here have entered: only the next barrier cannot complete") {
    HalfGroup world;
    world.fence();
    world.group.eof(1, world.effects);
    CHECK(world.group.departed() == Ranks{1});
    CHECK(stuck(world).empty());
    CHECK(world.group.finish_fence(0, "", world.effects) == "");
    CHECK(sent(world.effects, 0) == kOut);
    world.group.receive(0, "cmd=barrier_in\n", world.effects);
    const std::vector<Event> reported = stuck(world);
    REQUIRE(reported.size() == 1);
    CHECK(reported[0].rank == 1);
    CHECK(reported[0].barrier == 1);
  }
}

TEST_CASE("elsewhere: the status has the ranks that are here") {
  HalfGroup world;
  world.group.receive(1, "cmd=barrier_in\n", world.effects);
  const ProcessGroupStatus status = world.group.status();
  CHECK(status.ranks == std::vector{RankState::initialized, RankState::initialized});
  CHECK(status.barrier.inside == Ranks{1});
  CHECK(status.barrier.missing == Ranks{0});
}

constexpr std::string_view kInit12 = "cmd=init pmi_version=1 pmi_subversion=2\n";

std::string enter_line(const std::string& group) { return "cmd=barrier_in group=" + group + "\n"; }

TEST_CASE("elsewhere: the barrier of a group with members elsewhere is a query") {
  HalfGroup world(half_of_four(), kInit12);
  CHECK(world.reply(0, enter_line("0-2:7") + enter_line("WORLD:1") + enter_line("0,3")) == "");
  const auto asked = queries<BarrierQuery>(world.effects);
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].rank == 0);
  CHECK(asked[0].group == "0-2:7");
  CHECK(asked[1].group == "WORLD:1");
  CHECK(asked[2].group == "0,3");
  CHECK(world.reply(0, enter_line("0,1,2:7")) == "cmd=barrier_out rc=-1 msg=already_in_barrier tag=7\n");
  CHECK(world.reply(0, enter_line("1-3:7")) == "cmd=barrier_out rc=-1 msg=not_in_group tag=7\n");
  CHECK(world.reply(0, enter_line("0-4:7")) == "cmd=barrier_out rc=-1 msg=no_such_rank_in_job tag=7\n");
  CHECK(world.group.status().open_group_barriers == 0);
  world.effects.clear();
  world.group.answer_barrier(asked[1].id, true, 0, world.effects);
  world.group.answer_barrier(asked[0].id, false, 2, world.effects);
  world.group.answer_barrier(asked[0].id, true, 0, world.effects);
  CHECK(sent(world.effects, 0) ==
        "cmd=barrier_out rc=0 tag=1\ncmd=barrier_out rc=-1 msg=rank_2_has_left tag=7\n");
  CHECK(world.reply(0, enter_line("0-2:7")) == "");
  CHECK(queries<BarrierQuery>(world.effects).size() == 1);
  CHECK(world.reply(0, enter_line("0,3")) == "cmd=barrier_out rc=-1 msg=already_in_barrier tag=0\n");
}

TEST_CASE("elsewhere: the barrier of a group whose members are here is none") {
  HalfGroup world(half_of_four(), kInit12);
  for (const std::string group : {"NODE:3", "0-1", "1,0:5"}) {
    CAPTURE(group);
    CHECK(world.reply(0, enter_line(group)) == "");
    CHECK(world.effects.empty());
    CHECK(world.group.status().open_group_barriers == 1);
    CHECK(world.reply(1, enter_line(group)).starts_with("cmd=barrier_out rc=0 tag="));
    CHECK(sent(world.effects, 0) == sent(world.effects, 1));
  }
}

TEST_CASE("elsewhere: a query of a rank that has finalized or whose connection has ended is forgotten") {
  for (const bool finalizes : {false, true}) {
    CAPTURE(finalizes);
    ProcessGroupOptions again = half_of_four();
    again.auth.reconnect = true;
    HalfGroup world(again, kInit12);
    CHECK(world.reply(1, enter_line("1-2")) == "");
    const auto asked = queries<BarrierQuery>(world.effects);
    REQUIRE(asked.size() == 1);
    if (finalizes) world.group.receive(1, "cmd=finalize\n", world.effects);
    if (!finalizes) world.group.eof(1, world.effects);
    world.effects.clear();
    world.group.answer_barrier(asked[0].id, true, 0, world.effects);
    CHECK(world.effects.empty());
    if (finalizes) continue;
    world.group.accept(5, peer(1000), kStart, world.effects);
    world.group.receive(5, "cmd=initack pmiid=101\n" + std::string(kInit12), world.effects);
    CHECK(world.reply(5, enter_line("1-2")) == "");
    CHECK(queries<BarrierQuery>(world.effects).size() == 1);
  }
}

TEST_CASE("elsewhere: the number of queries about barriers is limited") {
  HalfGroup world(half_of_four(), kInit12);
  std::string requests;
  for (std::size_t tag = 0; tag <= kMaxDeferred; ++tag) requests += enter_line("0,2:" + std::to_string(tag));
  CHECK(world.reply(0, requests) == "cmd=barrier_out rc=-1 msg=too_many_barriers_at_once tag=64\n");
  CHECK(queries<BarrierQuery>(world.effects).size() == kMaxDeferred);
}

}  // namespace
}  // namespace wireup::engine
