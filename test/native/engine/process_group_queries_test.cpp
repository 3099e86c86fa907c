// Deferred replies: spawns, attributes that a rank waits for, and names, which process groups may share.
#include <memory>

#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

TEST_CASE("queries: replies follow in the order of the driver's answers") {
  ProcessGroup group(options(2));
  Effects effects;
  group.open_channel(0, 0);
  group.open_channel(1, 1);
  group.receive(0, std::string(kInit2) + frame("cmd=fullinit;pmirank=0;"), effects);
  group.receive(1, kInit, effects);
  effects.clear();
  group.receive(0, frame("cmd=spawn;thrid=a;ncmds=1;subcmd=x;maxprocs=2;"), effects);
  group.receive(0, frame("cmd=spawn;thrid=b;ncmds=1;subcmd=y;maxprocs=1;"), effects);
  group.receive(1, "mcmd=spawn\nexecname=z\nnprocs=1\nendcmd\n", effects);
  const std::vector<SpawnQuery> asked = queries(effects);
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].rank == 0);
  CHECK(asked[1].spawn.commands[0].program == "y");
  CHECK(asked[2].rank == 1);
  CHECK(sent(effects, 0).empty());
  effects.clear();

  group.answer_spawn(asked[1].id, {.rc = 5, .message = "no; such=thing"}, effects);
  group.receive(0, frame("cmd=kvs-put;key=k;value=v;"), effects);
  group.answer_spawn(asked[0].id, {.kvsname = "kvs_1", .errcodes = {0, 3}}, effects);
  CHECK(sent(effects, 0) == frame("cmd=spawn-response;thrid=b;rc=5;errmsg=no__such_thing;") +
                                frame("cmd=kvs-put-response;rc=0;") +
                                frame("cmd=spawn-response;thrid=a;rc=0;jobid=kvs_1;errcodes=0,3;"));
  effects.clear();
  // A second answer, and one after the end of the connection, do nothing.
  group.answer_spawn(asked[0].id, {}, effects);
  group.eof(1, effects);
  effects.clear();
  group.answer_spawn(asked[2].id, {}, effects);
  CHECK(effects.empty());
}

TEST_CASE("queries: an answer that the wire cannot carry fails the spawn") {
  const struct {
    SpawnAnswer answer;
    std::string expected;
  } rows[] = {
      {{}, "cmd=spawn_result rc=0\n"},
      {{.rc = -1}, "cmd=spawn_result rc=-1 msg=failed\n"},
      {{.kvsname = "a b"}, "cmd=spawn_result rc=-1 msg=bad_kvsname\n"},
      {{.errcodes = {0}}, "cmd=spawn_result rc=-1 msg=wrong_count_of_errcodes\n"},
      {{.errcodes = std::vector<std::int32_t>(1000, 0)}, "cmd=spawn_result rc=0\n"},
      {{.errcodes = std::vector<std::int32_t>(1000, 1)},
       "cmd=spawn_result rc=-1 msg=too_many_errcodes_for_a_reply\n"},
  };
  for (const auto& row : rows) {
    ProcessGroup group(options(1));
    Effects effects;
    group.open_channel(0, 0);
    group.receive(0, std::string(kInit) + "mcmd=spawn\nexecname=z\nnprocs=1000\nendcmd\n", effects);
    const QueryId id = queries(effects).at(0).id;
    effects.clear();
    group.answer_spawn(id, row.answer, effects);
    CHECK(sent(effects, 0) == row.expected);
  }
}

TEST_CASE("queries: a spawn with 100,000 arguments is refused, and the connection continues") {
  ProcessGroup group(options(1));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, kInit, effects);
  effects.clear();
  std::string block = "mcmd=spawn\nexecname=a\nnprocs=1\n";
  for (int i = 1; i <= 100'000; ++i) block += "arg" + std::to_string(i) + "=x\n";
  group.receive(0, block + "argcnt=100000\nendcmd\ncmd=get_appnum\n", effects);
  CHECK(sent(effects, 0) == "cmd=spawn_result rc=-1 msg=too_many_arg\ncmd=appnum appnum=0\n");
  CHECK(queries(effects).empty());
  CHECK_FALSE(closed(effects, 0));
}

TEST_CASE("queries: the number of deferred replies is limited") {
  ProcessGroup group(options(2));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, std::string(kInit2) + frame("cmd=fullinit;pmirank=0;"), effects);
  for (std::size_t i = 0; i < kMaxDeferred; ++i)
    group.receive(0, frame("cmd=info-getnodeattr;key=k;wait=TRUE;"), effects);
  effects.clear();
  group.receive(0, frame("cmd=info-getnodeattr;key=k;wait=TRUE;"), effects);
  group.receive(0, frame("cmd=spawn;ncmds=1;subcmd=x;maxprocs=2;"), effects);
  CHECK(sent(effects, 0) == frame("cmd=info-getnodeattr-response;rc=-1;errmsg=too_many_requests_at_once;") +
                                frame("cmd=spawn-response;rc=-1;errmsg=too_many_requests_at_once;"));
  group.open_channel(1, 1);
  group.receive(1, std::string(kInit2) + frame("cmd=fullinit;pmirank=1;"), effects);
  effects.clear();
  group.receive(1, frame("cmd=info-putnodeattr;key=k;value=v;"), effects);
  const std::string one = frame("cmd=info-getnodeattr-response;rc=0;found=TRUE;value=v;");
  CHECK(sent(effects, 0).size() == kMaxDeferred * one.size());
  effects.clear();
  group.receive(0, frame("cmd=info-getnodeattr;key=other;wait=TRUE;"), effects);
  CHECK(effects.empty());
}

TEST_CASE("names: process groups share them, and each one's are removed with it") {
  ProcessGroupOptions first = options(1);
  first.names = std::make_shared<Names>();
  ProcessGroupOptions second = options(1);
  second.names = first.names;
  auto publisher = std::make_unique<ProcessGroup>(first);
  ProcessGroup other(second);
  Effects effects;
  publisher->open_channel(0, 0);
  publisher->receive(0, std::string(kInit) + "cmd=publish_name service=s port=p\n", effects);
  other.open_channel(0, 0);
  other.receive(0, kInit, effects);
  effects.clear();
  other.receive(
      0, "cmd=lookup_name service=s\ncmd=unpublish_name service=s\ncmd=publish_name service=s port=q\n",
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

TEST_CASE("names: if they are kept elsewhere, requests are queries in both versions of PMI") {
  ProcessGroupOptions elsewhere = options(2);
  elsewhere.names_elsewhere = true;
  ProcessGroup group(elsewhere);
  Effects effects;
  group.open_channel(0, 0);
  group.open_channel(1, 1);
  group.receive(0, kInit, effects);
  group.receive(1, std::string(kInit2) + frame("cmd=fullinit;pmirank=1;"), effects);
  effects.clear();
  group.receive(0, "cmd=publish_name service=s port=a b\n", effects);
  group.receive(1, frame("cmd=name-lookup;thrid=t;name=s;") + frame("cmd=name-lookup;name=u;"), effects);
  group.receive(1, frame("cmd=name-unpublish;name=v;") + frame("cmd=name-lookup;name=w;"), effects);
  const std::vector<NameQuery> asked = queries<NameQuery>(effects);
  REQUIRE(asked.size() == 5);
  CHECK(sent(effects, 0) + sent(effects, 1) == "");
  CHECK(asked[0].rank == 0);
  CHECK(asked[0].request.operation == NameOperation::publish);
  CHECK(asked[0].request.service == "s");
  CHECK(asked[0].request.port == "a b");
  CHECK(asked[1].rank == 1);
  CHECK(asked[1].request.operation == NameOperation::lookup);
  CHECK(asked[3].request.operation == NameOperation::unpublish);
  effects.clear();

  group.answer_name(asked[4].id, {NameError::gone}, effects);
  group.answer_name(asked[3].id, {}, effects);
  group.answer_name(asked[2].id, {NameError::none, "a;b"}, effects);
  group.answer_name(asked[1].id, {NameError::none, "a b"}, effects);
  group.answer_name(asked[0].id, {NameError::full}, effects);
  CHECK(sent(effects, 0) == "cmd=publish_result rc=1 info=notok msg=too_many_names\n");
  CHECK(sent(effects, 1) == frame("cmd=name-lookup-response;rc=1;errmsg=name_server_has_gone;") +
                                frame("cmd=name-unpublish-response;rc=0;") +
                                frame("cmd=name-lookup-response;rc=1;errmsg=semicolon_in_value;") +
                                frame("cmd=name-lookup-response;thrid=t;rc=0;port=a b;value=a b;"));
}

TEST_CASE("names: an answer after the end of the connection is dropped, and waiting requests are limited") {
  ProcessGroupOptions elsewhere = options(1);
  elsewhere.names_elsewhere = true;
  ProcessGroup group(elsewhere);
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, kInit, effects);
  effects.clear();
  for (std::size_t i = 0; i <= kMaxDeferred; ++i) group.receive(0, "cmd=lookup_name service=s\n", effects);
  const std::vector<NameQuery> asked = queries<NameQuery>(effects);
  CHECK(asked.size() == kMaxDeferred);
  CHECK(sent(effects, 0) == "cmd=lookup_result rc=-1 msg=too_many_requests_at_once\n");
  group.eof(0, effects);
  effects.clear();
  for (const NameQuery& query : asked) group.answer_name(query.id, {}, effects);
  CHECK(effects.empty());
}

TEST_CASE("spawned process group: it has its preput keys and reports its spawner") {
  ProcessGroupOptions child = options(2);
  child.spawner = "kvs_parent";
  child.preput = {{"PARENT_ROOT_PORT_NAME", "tag#0"}};
  ProcessGroup group(child);
  Effects effects;
  group.accept(0, peer(1000), kStart, effects);
  group.receive(0, "cmd=initack pmiid=100\n", effects);
  CHECK(sent(effects, 0).starts_with("cmd=initack spawner-jobid=kvs_parent\n"));
  group.open_channel(1, 1);
  effects.clear();
  group.receive(1,
                std::string(kInit2) + frame("cmd=fullinit;pmirank=1;") +
                    frame("cmd=kvs-get;key=PARENT_ROOT_PORT_NAME;"),
                effects);
  CHECK(sent(effects, 1).find("spawner-jobid=kvs_parent;") != std::string::npos);
  CHECK(sent(effects, 1).ends_with("found=TRUE;value=tag#0;"));
}

}  // namespace
}  // namespace wireup::engine
