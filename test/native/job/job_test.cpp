// What transcripts cannot say: identities, time, status, effects, and the host's side of the contract.
#include "job/job.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace wireup::job {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart{};
constexpr std::string_view kInit = "cmd=init pmi_version=1 pmi_subversion=1\n";
using Ranks = std::vector<std::uint32_t>;

JobOptions options(std::uint32_t size) {
  JobOptions options;
  options.kvsname = "kvs";
  options.layout = Layout::single_node(size);
  options.auth.allowed_uids = {1000};
  for (std::uint32_t rank = 0; rank < size; ++rank) options.auth.tokens.push_back(100 + rank);
  return options;
}

Peer peer(std::uint32_t uid) {
  return {.transport = Transport::unix_socket, .uid = uid, .pid = 7, .address = "unix"};
}

std::string sent(const Effects& effects, ConnectionId connection) {
  std::string text;
  for (const Effect& effect : effects.list()) {
    const auto* send = std::get_if<Send>(&effect);
    if (send != nullptr && send->connection == connection) text += effects.bytes(*send);
  }
  return text;
}

std::vector<Event> events(const Effects& effects) {
  std::vector<Event> list;
  for (const Effect& effect : effects.list()) {
    if (const auto* event = std::get_if<Event>(&effect)) list.push_back(*event);
  }
  return list;
}

bool closed(const Effects& effects, ConnectionId connection) {
  return std::ranges::any_of(effects.list(), [&](const Effect& effect) {
    const auto* close = std::get_if<Close>(&effect);
    return close != nullptr && close->connection == connection;
  });
}

TEST_CASE("a peer of another uid is closed before it is read") {
  Job job(options(1));
  Effects effects;
  job.accept(5, peer(1001), kStart, effects);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(events(effects)[0].peer.uid == 1001U);
  CHECK(events(effects)[0].message.find("1001") != std::string::npos);
  CHECK(closed(effects, 5));
  CHECK(job.status().rejected == 1);
  CHECK_FALSE(job.deadline());
  effects.clear();
  job.receive(5, "cmd=initack pmiid=100\n", effects);
  job.eof(5, effects);
  CHECK(effects.empty());
}

TEST_CASE("a stranger that says nothing is closed at its deadline") {
  Job job(options(2));
  Effects effects;
  job.accept(1, peer(1000), kStart, effects);
  job.accept(2, peer(1000), kStart, effects);
  job.receive(2, "cmd=initack pmiid=100\n", effects);
  CHECK(job.deadline() == kStart + milliseconds(10'000));
  effects.clear();
  job.tick(kStart + milliseconds(9'999), effects);
  CHECK(effects.empty());
  job.tick(kStart + milliseconds(10'000), effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(closed(effects, 2));
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK_FALSE(job.deadline());
}

TEST_CASE("a stranger that was refused has no deadline any more") {
  Job job(options(1));
  Effects effects;
  job.accept(1, peer(1000), kStart, effects);
  job.receive(1, "cmd=initack pmiid=5\n", effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(job.deadline());
  effects.clear();
  job.tick(kStart + std::chrono::hours(1), effects);
  CHECK(effects.empty());
}

TEST_CASE("a source whose slots are full loses its oldest connection, which is said") {
  JobOptions few = options(1);
  few.auth.slots = 1;
  Job job(few);
  Effects effects;
  job.accept(1, peer(1000), kStart, effects);
  CHECK(job.status().unidentified == 1);
  job.accept(2, peer(1000), kStart + few.auth.eviction_age, effects);
  CHECK(closed(effects, 1));
  CHECK_FALSE(closed(effects, 2));
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(job.status().unidentified == 1);
  effects.clear();
  job.receive(1, "cmd=initack pmiid=100\n", effects);
  job.eof(1, effects);
  CHECK(effects.empty());
  job.receive(2, "cmd=initack pmiid=100\n", effects);
  CHECK(job.rank_state(0) == RankState::connected);
}

TEST_CASE("who guesses too often is told nothing, heard no more, and closed later") {
  Job job(options(1));
  Effects effects;
  for (ConnectionId connection = 1; connection <= 4; ++connection) {
    effects.clear();
    job.accept(connection, peer(1000), kStart, effects);
    job.receive(connection, "cmd=initack pmiid=5\n", effects);
    REQUIRE(events(effects).size() == 1);
    CHECK(sent(effects, connection).empty());
    CHECK(closed(effects, connection) == (connection < 4));
  }
  effects.clear();
  job.receive(4, "cmd=initack pmiid=100\n", effects);
  CHECK(effects.empty());
  // Its delay holds nobody else up.
  job.accept(5, peer(1000), kStart, effects);
  job.receive(5, "cmd=initack pmiid=100\n", effects);
  CHECK(job.rank_state(0) == RankState::connected);
  effects.clear();
  REQUIRE(job.deadline());
  job.tick(*job.deadline(), effects);
  CHECK(closed(effects, 4));
  CHECK(events(effects).empty());
  CHECK(job.status().rejected == 4);
  CHECK_FALSE(job.deadline());
}

// Two ranks, in init and with a key put; rank 0's connection is 0.
struct Reconnecting {
  Reconnecting() : job(make()) {
    for (const ConnectionId connection : {0U, 1U}) come(connection, connection);
    say(0, kInit);
    say(1, kInit);
    say(0, "cmd=put kvsname=kvs key=k value=v\n");
  }
  static JobOptions make() {
    JobOptions two = options(2);
    two.auth.reconnect = true;
    return two;
  }
  void come(ConnectionId connection, std::uint32_t rank) {
    job.accept(connection, peer(1000), kStart, effects);
    job.receive(connection, "cmd=initack pmiid=" + std::to_string(100 + rank) + "\n", effects);
  }
  std::string say(ConnectionId connection, std::string_view line) {
    effects.clear();
    job.receive(connection, line, effects);
    return sent(effects, connection);
  }
  void barrier() {
    say(0, "cmd=barrier_in\n");
    say(1, "cmd=barrier_in\n");
    REQUIRE(job.status().barrier.number == 1);
  }
  void leave(ConnectionId connection) {
    effects.clear();
    job.eof(connection, effects);
  }
  Effects effects;
  Job job;
};

TEST_CASE("reconnect: before its first barrier a rank may start again, and what it has put stays") {
  Reconnecting two;
  two.leave(0);
  REQUIRE(events(two.effects).size() == 1);
  CHECK_FALSE(events(two.effects)[0].lost);
  two.effects.clear();
  two.come(5, 0);
  CHECK(two.job.rank_state(0) == RankState::connected);
  CHECK(two.say(5, kInit) == "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
  CHECK(two.say(5, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
  two.say(1, "cmd=barrier_in\n");
  CHECK(two.say(5, "cmd=barrier_in\n") == "cmd=barrier_out\n");
}

TEST_CASE("reconnect: after a barrier a rank goes on where it was, and cannot start again") {
  Reconnecting two;
  two.barrier();
  two.leave(0);
  two.effects.clear();
  two.come(5, 0);
  CHECK(two.job.rank_state(0) == RankState::initialized);
  CHECK(two.say(5, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
  CHECK(two.say(5, kInit) ==
        "cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=-1 "
        "msg=a_rank_cannot_start_again_after_a_barrier\n");
  REQUIRE(events(two.effects).size() == 1);
  CHECK(events(two.effects)[0].type == EventType::protocol_error);
  two.say(1, "cmd=barrier_in\n");
  CHECK(two.say(5, "cmd=barrier_in\n") == "cmd=barrier_out\n");
  CHECK(two.say(5, "cmd=finalize\n") == "cmd=finalize_ack\n");
  two.leave(5);
  two.effects.clear();
  two.come(6, 0);
  CHECK(closed(two.effects, 6));
}

TEST_CASE("reconnect: a rank that lives keeps its place") {
  Reconnecting two;
  two.effects.clear();
  two.come(5, 0);
  CHECK(closed(two.effects, 5));
  CHECK(two.say(0, "cmd=get kvsname=kvs key=k\n") == "cmd=get_result rc=0 msg=success value=v\n");
}

TEST_CASE("the life of a rank in states and events") {
  Job job(options(1));
  Effects effects;
  CHECK(job.rank_state(0) == RankState::absent);
  job.accept(3, peer(1000), kStart, effects);
  CHECK(job.rank_state(0) == RankState::absent);
  job.receive(3, "cmd=initack pmiid=100\n", effects);
  CHECK(job.rank_state(0) == RankState::connected);
  CHECK(sent(effects, 3) == "cmd=initack\ncmd=set size=1\ncmd=set rank=0\ncmd=set debug=0\n");
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::connected);
  CHECK(events(effects)[0].peer.pid == 7);
  effects.clear();

  job.receive(3, kInit, effects);
  CHECK(job.rank_state(0) == RankState::initialized);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::initialized);
  CHECK(events(effects)[0].version == 1);
  CHECK(events(effects)[0].subversion == 1);
  effects.clear();

  job.receive(3, "cmd=barrier_in\ncmd=barrier_in\n", effects);
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::barrier);
  CHECK(events(effects)[0].barrier == 0);
  CHECK(events(effects)[1].barrier == 1);
  CHECK(job.status().barrier.number == 2);
  effects.clear();

  job.receive(3, "cmd=finalize\n", effects);
  CHECK(job.rank_state(0) == RankState::finalized);
  CHECK(events(effects)[0].type == EventType::finalized);
  effects.clear();

  job.eof(3, effects);
  CHECK(job.rank_state(0) == RankState::finalized);
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::disconnected);
  CHECK_FALSE(events(effects)[0].lost);
}

TEST_CASE("who is in the barrier, who is missing") {
  Job job(options(3));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    job.open_channel(rank, rank);
    job.receive(rank, kInit, effects);
  }
  CHECK(job.status().barrier.inside.empty());
  CHECK(job.status().barrier.missing.empty());
  job.receive(1, "cmd=barrier_in\n", effects);
  CHECK(job.status().barrier.inside == Ranks{1});
  CHECK(job.status().barrier.missing == Ranks{0, 2});
  effects.clear();
  job.eof(1, effects);
  CHECK(events(effects)[0].lost);
  CHECK(job.status().barrier.inside.empty());
  CHECK(job.rank_state(1) == RankState::disconnected);
}

TEST_CASE("a barrier that can never complete is told once") {
  const auto stuck = [](const Effects& effects) {
    std::vector<Event> found = events(effects);
    std::erase_if(found, [](const Event& event) { return event.type != EventType::stuck; });
    return found;
  };
  const char* const ways[] = {"finalize", "hang up", "end"};
  for (const std::string way : ways) {
    for (const bool first : {true, false}) {
      CAPTURE(way);
      CAPTURE(first);
      Job job(options(3));
      Effects effects;
      for (std::uint32_t rank = 0; rank < 3; ++rank) {
        job.open_channel(rank, rank);
        // An end before init counts too.
        if (rank != 1 || way != "end") job.receive(rank, kInit, effects);
      }
      const auto wait = [&] { job.receive(2, "cmd=barrier_in\n", effects); };
      if (!first) wait();
      CHECK(stuck(effects).empty());
      if (way == "finalize") job.receive(1, "cmd=finalize\n", effects);
      if (way == "hang up") job.eof(1, effects);
      if (way == "end") job.depart(1, effects);
      if (first) wait();
      REQUIRE(stuck(effects).size() == 1);
      CHECK(stuck(effects)[0].rank == 1);
      CHECK(stuck(effects)[0].barrier == 0);
      CHECK(job.departed() == Ranks{1});
      effects.clear();
      job.receive(0, "cmd=barrier_in\n", effects);
      job.depart(1, effects);
      CHECK(stuck(effects).empty());
    }
  }
}

TEST_CASE("a rank that hangs up before init, or leaves with nobody waiting, makes nothing stuck") {
  Job job(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) job.open_channel(rank, rank);
  job.receive(0, kInit, effects);
  job.receive(0, "cmd=barrier_in\n", effects);
  job.eof(1, effects);
  CHECK(events(effects).back().type == EventType::disconnected);
  job.receive(0, "cmd=finalize\n", effects);
  job.depart(1, effects);
  CHECK(events(effects).back().type == EventType::finalized);
}

TEST_CASE("a rank that gets a new channel is back") {
  Job job(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    job.open_channel(rank, rank);
    job.receive(rank, kInit, effects);
  }
  job.eof(1, effects);
  job.receive(0, "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::stuck);
  job.open_channel(1, 1);
  CHECK(job.departed().empty());
  effects.clear();
  job.receive(1, std::string(kInit) + "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::barrier);
  job.eof(1, effects);
  job.receive(0, "cmd=barrier_in\n", effects);
  CHECK(events(effects).back().type == EventType::stuck);
}

TEST_CASE("a disconnection says which barrier the rank waited in") {
  Job job(options(2));
  Effects effects;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    job.open_channel(rank, rank);
    job.receive(rank, std::string(kInit) + "cmd=barrier_in\n", effects);
  }
  job.receive(1, "cmd=barrier_in\n", effects);
  job.receive(1, "cmd=abort exitcode=3\n", effects);
  CHECK(events(effects).back().in_barrier);
  job.eof(1, effects);
  CHECK(events(effects).back().type == EventType::disconnected);
  CHECK(events(effects).back().in_barrier);
  CHECK(events(effects).back().barrier == 1);
}

TEST_CASE("a barrier's answer is stored once for all") {
  constexpr std::uint32_t kSize = 100;
  Job job(options(kSize));
  Effects effects;
  for (std::uint32_t rank = 0; rank < kSize; ++rank) {
    job.open_channel(rank, rank);
    job.receive(rank, kInit, effects);
  }
  effects.clear();
  for (std::uint32_t rank = 0; rank < kSize; ++rank) job.receive(rank, "cmd=barrier_in\n", effects);
  CHECK(effects.list().size() == kSize + 1);
  CHECK(effects.buffer() == "cmd=barrier_out\n");
  for (std::uint32_t rank = 0; rank < kSize; ++rank) CHECK(sent(effects, rank) == "cmd=barrier_out\n");
}

TEST_CASE("answers to one connection in one turn are one send") {
  Job job(options(1));
  Effects effects;
  job.open_channel(0, 0);
  job.receive(0, kInit, effects);
  effects.clear();
  job.receive(0, "cmd=get_appnum\ncmd=get_universe_size\n", effects);
  CHECK(effects.list().size() == 1);
  CHECK(sent(effects, 0) == "cmd=appnum appnum=0\ncmd=universe_size size=1\n");
}

TEST_CASE("a line without end closes its connection as a lost rank") {
  Job job(options(1));
  Effects effects;
  job.open_channel(0, 0);
  job.receive(0, kInit, effects);
  effects.clear();
  job.receive(0, std::string(kMaxLine, 'x'), effects);
  CHECK(closed(effects, 0));
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::protocol_error);
  CHECK(events(effects)[1].type == EventType::disconnected);
  CHECK(events(effects)[1].lost);
}

TEST_CASE("a spawn block without end is bounded") {
  Job job(options(1));
  Effects effects;
  job.open_channel(0, 0);
  job.receive(0, std::string(kInit) + "mcmd=spawn\n", effects);
  const std::string line = "info_val_0=" + std::string(1000, 'v') + "\n";
  std::size_t said = 0;
  while (!closed(effects, 0) && said < 2 * kMaxBlock) {
    job.receive(0, line, effects);
    said += line.size();
  }
  CHECK(closed(effects, 0));
  CHECK(said > kMaxBlock);
  CHECK(said < kMaxBlock + 2 * line.size());
}

TEST_CASE("universe size, appnum and mapping come from the options") {
  JobOptions custom = options(2);
  custom.layout = Layout({{0, 0}, {1, 3}});
  custom.universe_size = 64;
  Job job(std::move(custom));
  Effects effects;
  job.open_channel(0, 1);
  job.receive(0, kInit, effects);
  effects.clear();
  job.receive(0, "cmd=get_universe_size\ncmd=get_appnum\ncmd=get key=PMI_process_mapping\n", effects);
  CHECK(sent(effects, 0) ==
        "cmd=universe_size size=64\ncmd=appnum appnum=3\n"
        "cmd=get_result rc=0 msg=success value=(vector,(0,2,1))\n");
  CHECK(job.status().kvs_entries == 1);
}

constexpr std::string_view kInit2 = "cmd=init pmi_version=2 pmi_subversion=0\n";

std::string frame(std::string_view text) {
  std::string length = std::to_string(text.size());
  return std::string(wire::kFrameHeader - length.size(), ' ') + length + std::string(text);
}

std::vector<Question> questions(const Effects& effects) {
  std::vector<Question> list;
  for (const Effect& effect : effects.list()) {
    if (const auto* question = std::get_if<Question>(&effect)) list.push_back(*question);
  }
  return list;
}

TEST_CASE("answers to questions come when the host has them, in its order") {
  Job job(options(2));
  Effects effects;
  job.open_channel(0, 0);
  job.open_channel(1, 1);
  job.receive(0, std::string(kInit2) + frame("cmd=fullinit;pmirank=0;"), effects);
  job.receive(1, kInit, effects);
  effects.clear();
  job.receive(0, frame("cmd=spawn;thrid=a;ncmds=1;subcmd=x;maxprocs=2;"), effects);
  job.receive(0, frame("cmd=spawn;thrid=b;ncmds=1;subcmd=y;maxprocs=1;"), effects);
  job.receive(1, "mcmd=spawn\nexecname=z\nnprocs=1\nendcmd\n", effects);
  const std::vector<Question> asked = questions(effects);
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].rank == 0);
  CHECK(asked[1].spawn.commands[0].program == "y");
  CHECK(asked[2].rank == 1);
  CHECK(sent(effects, 0).empty());
  effects.clear();

  job.answer_spawn(asked[1].id, {.rc = 5, .message = "no; such=thing"}, effects);
  job.receive(0, frame("cmd=kvs-put;key=k;value=v;"), effects);
  job.answer_spawn(asked[0].id, {.kvsname = "kvs_1", .errcodes = {0, 3}}, effects);
  CHECK(sent(effects, 0) == frame("cmd=spawn-response;thrid=b;rc=5;errmsg=no__such_thing;") +
                                frame("cmd=kvs-put-response;rc=0;") +
                                frame("cmd=spawn-response;thrid=a;rc=0;jobid=kvs_1;errcodes=0,3;"));
  effects.clear();
  // Once is enough, and who has gone is not told.
  job.answer_spawn(asked[0].id, {}, effects);
  job.eof(1, effects);
  effects.clear();
  job.answer_spawn(asked[2].id, {}, effects);
  CHECK(effects.empty());
}

TEST_CASE("answers that cannot be said") {
  const struct {
    SpawnAnswer answer;
    std::string said;
  } rows[] = {
      {{}, "cmd=spawn_result rc=0\n"},
      {{.rc = -1}, "cmd=spawn_result rc=-1 msg=failed\n"},
      {{.kvsname = "a b"}, "cmd=spawn_result rc=-1 msg=bad_kvsname\n"},
      {{.errcodes = {0}}, "cmd=spawn_result rc=-1 msg=wrong_count_of_errcodes\n"},
      {{.errcodes = std::vector<std::int32_t>(1000, 0)}, "cmd=spawn_result rc=0\n"},
      {{.errcodes = std::vector<std::int32_t>(1000, 1)}, "cmd=spawn_result rc=-1 msg=errcodes_are_too_many_to_say\n"},
  };
  for (const auto& row : rows) {
    Job job(options(1));
    Effects effects;
    job.open_channel(0, 0);
    job.receive(0, std::string(kInit) + "mcmd=spawn\nexecname=z\nnprocs=1000\nendcmd\n", effects);
    const QuestionId id = questions(effects).at(0).id;
    effects.clear();
    job.answer_spawn(id, row.answer, effects);
    CHECK(sent(effects, 0) == row.said);
  }
}

TEST_CASE("a hundred thousand arguments are refused, and the connection lives") {
  Job job(options(1));
  Effects effects;
  job.open_channel(0, 0);
  job.receive(0, kInit, effects);
  effects.clear();
  std::string block = "mcmd=spawn\nexecname=a\nnprocs=1\n";
  for (int i = 1; i <= 100'000; ++i) block += "arg" + std::to_string(i) + "=x\n";
  job.receive(0, block + "argcnt=100000\nendcmd\ncmd=get_appnum\n", effects);
  CHECK(sent(effects, 0) == "cmd=spawn_result rc=-1 msg=too_many_arg\ncmd=appnum appnum=0\n");
  CHECK(questions(effects).empty());
  CHECK_FALSE(closed(effects, 0));
}

TEST_CASE("what is deferred is bounded") {
  Job job(options(2));
  Effects effects;
  job.open_channel(0, 0);
  job.receive(0, std::string(kInit2) + frame("cmd=fullinit;pmirank=0;"), effects);
  for (std::size_t i = 0; i < kMaxDeferred; ++i) job.receive(0, frame("cmd=info-getnodeattr;key=k;wait=TRUE;"), effects);
  effects.clear();
  job.receive(0, frame("cmd=info-getnodeattr;key=k;wait=TRUE;"), effects);
  job.receive(0, frame("cmd=spawn;ncmds=1;subcmd=x;maxprocs=2;"), effects);
  CHECK(sent(effects, 0) == frame("cmd=info-getnodeattr-response;rc=-1;errmsg=too_many_requests_at_once;") +
                                frame("cmd=spawn-response;rc=-1;errmsg=too_many_requests_at_once;"));
  job.open_channel(1, 1);
  job.receive(1, std::string(kInit2) + frame("cmd=fullinit;pmirank=1;"), effects);
  effects.clear();
  job.receive(1, frame("cmd=info-putnodeattr;key=k;value=v;"), effects);
  const std::string one = frame("cmd=info-getnodeattr-response;rc=0;found=TRUE;value=v;");
  CHECK(sent(effects, 0).size() == kMaxDeferred * one.size());
  effects.clear();
  job.receive(0, frame("cmd=info-getnodeattr;key=other;wait=TRUE;"), effects);
  CHECK(effects.empty());
}

TEST_CASE("names are shared by jobs, and go with the job that published them") {
  JobOptions first = options(1);
  first.names = std::make_shared<Names>();
  JobOptions second = options(1);
  second.names = first.names;
  auto publisher = std::make_unique<Job>(first);
  Job other(second);
  Effects effects;
  publisher->open_channel(0, 0);
  publisher->receive(0, std::string(kInit) + "cmd=publish_name service=s port=p\n", effects);
  other.open_channel(0, 0);
  other.receive(0, kInit, effects);
  effects.clear();
  other.receive(0, "cmd=lookup_name service=s\ncmd=unpublish_name service=s\ncmd=publish_name service=s port=q\n",
                effects);
  CHECK(sent(effects, 0) ==
        "cmd=lookup_result rc=0 info=ok port=p\n"
        "cmd=unpublish_result rc=1 info=notok msg=service_not_found\n"
        "cmd=publish_result rc=1 info=notok msg=key_already_present\n");
  publisher.reset();
  effects.clear();
  other.receive(0, "cmd=lookup_name service=s\n", effects);
  CHECK(sent(effects, 0) == "cmd=lookup_result rc=1 info=notok msg=service_not_found\n");
}

TEST_CASE("a job that was spawned has its keys, and says whose it is") {
  JobOptions child = options(2);
  child.spawner = "kvs_parent";
  child.preput = {{"PARENT_ROOT_PORT_NAME", "tag#0"}};
  Job job(child);
  Effects effects;
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, "cmd=initack pmiid=100\n", effects);
  CHECK(sent(effects, 0).starts_with("cmd=initack spawner-jobid=kvs_parent\n"));
  job.open_channel(1, 1);
  effects.clear();
  job.receive(1, std::string(kInit2) + frame("cmd=fullinit;pmirank=1;") + frame("cmd=kvs-get;key=PARENT_ROOT_PORT_NAME;"),
              effects);
  CHECK(sent(effects, 1).find("spawner-jobid=kvs_parent;") != std::string::npos);
  CHECK(sent(effects, 1).ends_with("found=TRUE;value=tag#0;"));
}

TEST_CASE("a rank of PMI-2 does not come back after a barrier") {
  JobOptions again = options(1);
  again.auth.reconnect = true;
  Job job(again);
  Effects effects;
  const std::string start = std::string(kInit2) + frame("cmd=fullinit;pmirank=100;");
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, start, effects);
  job.eof(0, effects);
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, start + frame("cmd=kvs-fence;"), effects);
  CHECK_FALSE(closed(effects, 0));
  job.eof(0, effects);
  effects.clear();
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, start, effects);
  CHECK(closed(effects, 0));
  effects.clear();
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, "cmd=initack pmiid=100\n", effects);
  CHECK_FALSE(closed(effects, 0));
}

TEST_CASE("the host's mistakes") {
  Job job(options(2));
  Effects effects;
  job.open_channel(0, 0);
  CHECK_THROWS_AS(job.open_channel(1, 0), std::logic_error);
  CHECK_THROWS_AS(job.open_channel(0, 1), std::logic_error);
  CHECK_THROWS_AS(job.open_channel(1, 2), std::logic_error);
  CHECK_THROWS_AS(job.accept(0, peer(1000), kStart, effects), std::logic_error);
  job.receive(99, "cmd=init\n", effects);
  job.eof(99, effects);
  CHECK(effects.empty());
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a=b"), std::string("a\n"), std::string(256, 'n')}) {
    JobOptions bad = options(1);
    bad.kvsname = name;
    CHECK_THROWS_AS(Job{bad}, std::invalid_argument);
  }
}

TEST_CASE("whom the host turns away is told and counted like whom the job refuses") {
  Job job(options(2));
  Effects effects;
  job.reject(peer(1000), "there is no room", effects);
  job.reject(Peer{}, "a channel too many", effects, 1);
  REQUIRE(events(effects).size() == 2);
  CHECK(events(effects)[0].type == EventType::rejected);
  CHECK(events(effects)[0].peer.uid == 1000U);
  CHECK(events(effects)[0].rank == -1);
  CHECK(events(effects)[1].rank == 1);
  CHECK(events(effects)[1].message == "a channel too many");
  CHECK(job.status().rejected == 2);
}

TEST_CASE("an id may be used again after its connection has ended") {
  Job job(options(2));
  Effects effects;
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, "nonsense\n", effects);
  CHECK(closed(effects, 0));
  effects.clear();
  job.accept(0, peer(1000), kStart, effects);
  job.receive(0, "cmd=initack pmiid=101\n", effects);
  CHECK(job.rank_state(1) == RankState::connected);
  job.eof(0, effects);
  job.open_channel(0, 1);
  CHECK(job.rank_state(1) == RankState::connected);
}

}  // namespace
}  // namespace wireup::job
