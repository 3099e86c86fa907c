// ClientSession with scripted servers, and connected to a ProcessGroup in memory.
#include "engine/client_session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/client_events.h"

namespace wireup::engine {
namespace {

constexpr std::string_view kFdStart =
    "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"
    "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n"
    "cmd=my_kvsname kvsname=kvs\n"
    "cmd=appnum appnum=3\n"
    "cmd=universe_size size=8\n";

// A client on an inherited channel, after the handshake.
struct Started {
  explicit Started(std::string_view script = kFdStart) : session({.pmi_id = {}, .rank = 1, .size = 2}) {
    session.start(effects);
    session.receive(script, effects);
  }
  ClientSession session;
  ClientEffects effects;
};

TEST_CASE("client: the handshake on an inherited channel") {
  ClientSession session({.pmi_id = {}, .rank = 1, .size = 2});
  ClientEffects effects;
  session.start(effects);
  CHECK(effects.send == "cmd=init pmi_version=1 pmi_subversion=1\n");
  session.receive(kFdStart, effects);
  CHECK(effects.send ==
        "cmd=init pmi_version=1 pmi_subversion=1\ncmd=get_maxes\ncmd=get_my_kvsname\ncmd=get_appnum\n"
        "cmd=get_universe_size\n");
  REQUIRE(all<Ready>(effects).size() == 1);
  const ClientInfo info = all<Ready>(effects)[0].info;
  CHECK(info.rank == 1);
  CHECK(info.size == 2);
  CHECK(info.appnum == 3);
  CHECK(info.universe_size == 8);
  CHECK(info.kvsname == "kvs");
  CHECK(info.version == 1);
  CHECK(info.subversion == 1);
  CHECK(info.kvsname_max == 256);
  CHECK(info.key_max == 64);
  CHECK(info.value_max == 1024);
}

TEST_CASE("client: handshakes with the replies of different servers") {
  const std::string_view scripts[] = {
      // As RFC 13 permits: rc in every reply, extra attributes, extra blanks, an empty line.
      "cmd=response_to_init rc=0  pmi_subversion=1 pmi_version=1 x=y\n\n"
      "cmd=maxes vallen_max=1024 rc=0 kvsname_max=64 keylen_max=64\n"
      "cmd=my_kvsname rc=0 kvsname=ƒr1w9nu5\n"
      "  cmd=appnum rc=0 appnum=0 \n"
      "cmd=universe_size rc=0 size=2\n",
      // MPICH's newest server replies 1.2 to 1.1.
      "cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=0\n"
      "cmd=maxes rc=0 kvsname_max=256 keylen_max=64 vallen_max=1024\n"
      "cmd=my_kvsname rc=0 kvsname=k\n"
      "cmd=appnum rc=0 appnum=0\n"
      "cmd=universe_size rc=0 size=-1\n",
      // A server that does not know appnum and universe size.
      "cmd=response_to_init pmi_version=1 pmi_subversion=1\n"
      "cmd=maxes kvsname_max=4096 keylen_max=4096 vallen_max=4096\n"
      "cmd=my_kvsname kvsname=k\n"
      "cmd=appnum rc=-1 msg=no idea\n"
      "cmd=unknown_result rc=-1 msg=unknown_command\n",
  };
  for (const std::string_view script : scripts) {
    CAPTURE(script);
    Started client(script);
    REQUIRE(all<Failed>(client.effects).empty());
    REQUIRE(all<Ready>(client.effects).size() == 1);
    CHECK(all<Ready>(client.effects)[0].info.value_max + 400 < kMaxLine);
  }
}

TEST_CASE("client: the handshake on PMI_PORT") {
  const std::string_view answers[] = {
      "cmd=initack\ncmd=set size=4\ncmd=set rank=3\ncmd=set debug=0\n",
      "cmd=initack rc=0\ncmd=set size=4\ncmd=set rank=3\ncmd=set debug=0\n",
      "cmd=initack rc=0 rank=3 size=4 appnum=0 spawner-jobid=j debug=1\n"
      "cmd=set debug=1\ncmd=set rank=3\ncmd=set size=4\n",
  };
  for (const std::string_view answer : answers) {
    CAPTURE(answer);
    ClientSession session({.pmi_id = "77", .handshake_only = true});
    ClientEffects effects;
    session.start(effects);
    CHECK(effects.send == "cmd=initack pmiid=77\n");
    session.receive(answer, effects);
    REQUIRE(all<Ready>(effects).size() == 1);
    CHECK(all<Ready>(effects)[0].info.rank == 3);
    CHECK(all<Ready>(effects)[0].info.size == 4);
    CHECK(effects.send == "cmd=initack pmiid=77\n");
  }
}

TEST_CASE("client: failures of the handshake") {
  using Reason = Failed::Reason;
  const struct {
    bool port;
    std::string_view script;
    bool eof;
    Reason reason;
  } rows[] = {
      {true, "", true, Reason::refused},
      {true, "cmd=initack rc=-1 msg=no\n", false, Reason::refused},
      {true, "cmd=initack\n", true, Reason::hung_up},
      {true, "cmd=initack\ncmd=set size=1\ncmd=set rank=1\ncmd=set debug=0\n", false, Reason::protocol},
      {true, "cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1\n", false, Reason::protocol},
      {true, "cmd=initack\ncmd=initack\n", false, Reason::protocol},
      {true, "garbage\n", false, Reason::protocol},
      {false, "", true, Reason::hung_up},
      {false, "cmd=response_to_init rc=-1 msg=no\n", false, Reason::refused},
      {false, "cmd=response_to_init pmi_version=2 pmi_subversion=0\n", false, Reason::protocol},
      {false, "cmd=response_to_init rc=0\n", false, Reason::protocol},
      {false, "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n", false, Reason::protocol},
      {false, "cmd=response_to_init pmi_version=1 pmi_subversion=1\ncmd=maxes rc=-1\n", false,
       Reason::protocol},
  };
  for (const auto& row : rows) {
    CAPTURE(row.script);
    ClientOptions options;
    if (row.port) options.pmi_id = "1";
    ClientSession session(options);
    ClientEffects effects;
    session.start(effects);
    session.receive(row.script, effects);
    if (row.eof) session.eof(effects);
    REQUIRE(all<Failed>(effects).size() == 1);
    CHECK(all<Failed>(effects)[0].reason == row.reason);
    CHECK_FALSE(all<Failed>(effects)[0].message.empty());
    CHECK(effects.close);
    effects.clear();
    session.get("k", effects);
    session.receive("cmd=get_result rc=0 value=v\n", effects);
    session.eof(effects);
    CHECK(effects.events.empty());
    CHECK(effects.send.empty());
  }
}

TEST_CASE("client: requests are sent one by one and answered in order") {
  Started client;
  client.effects.clear();
  const RequestId put = client.session.put("k", "a value", client.effects);
  const RequestId get = client.session.get("k", client.effects);
  const RequestId missing = client.session.get("none", client.effects);
  CHECK(client.effects.send == "cmd=put kvsname=kvs key=k value=a value\n");
  client.session.receive("cmd=put_result rc=0 msg=success\n", client.effects);
  client.session.receive("cmd=get_result rc=0 msg=success value=a val", client.effects);
  client.session.receive("ue found=TRUE\ncmd=get_result rc=-1 msg=key_none_not_found value=unknown\n",
                         client.effects);
  const std::vector<Answer> answers = all<Answer>(client.effects);
  REQUIRE(answers.size() == 3);
  CHECK(answers[0].request == put);
  CHECK(answers[0].rc == 0);
  CHECK(answers[1].request == get);
  CHECK(answers[1].value == "a value");
  CHECK(answers[2].request == missing);
  CHECK(answers[2].rc == -1);
  CHECK(answers[2].message == "key_none_not_found");
  CHECK(answers[2].value.empty());
}

TEST_CASE("client: a missing reserved key has an empty value") {
  Started client;
  client.effects.clear();
  client.session.get("PMI_none", client.effects);
  client.session.get("none", client.effects);
  client.session.receive("cmd=get_result rc=-1 msg=key_PMI_none_not_found value=unknown\n", client.effects);
  client.session.receive("cmd=get_result rc=-1 msg=key_none_not_found value=unknown\n", client.effects);
  const std::vector<Answer> answers = all<Answer>(client.effects);
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].rc == 0);
  CHECK(answers[0].value.empty());
  CHECK(answers[0].message.empty());
  CHECK(answers[1].rc == -1);
}

TEST_CASE("client: a request that the wire cannot carry is answered in order and not sent") {
  Started client;
  client.effects.clear();
  client.session.get("first", client.effects);
  const std::string sent = client.effects.send;
  client.session.put("a b", "v", client.effects);
  client.session.put("a=b", "v", client.effects);
  client.session.put("", "v", client.effects);
  client.session.put("k", "a\nb", client.effects);
  client.session.put("k", std::string_view("a\0b", 3), client.effects);
  client.session.put(std::string(64, 'k'), "v", client.effects);
  client.session.put("k", std::string(1024, 'v'), client.effects);
  client.session.get("a\tb", client.effects);
  client.session.publish("a b", "port", client.effects);
  client.session.publish("name", "a\nb", client.effects);
  client.session.publish("name", std::string(2000, 'p'), client.effects);
  client.session.lookup("", client.effects);
  CHECK(all<Answer>(client.effects).empty());
  CHECK(client.effects.send == sent);
  client.session.receive("cmd=get_result rc=0 value=x\n", client.effects);
  const std::vector<Answer> answers = all<Answer>(client.effects);
  // The codes of RFC 13: key, key, key, value, value, key length, value length, key; names: argument.
  const std::vector<std::int32_t> codes = {0, 4, 4, 4, 6, 6, 5, 7, 4, 3, 3, 3, 3};
  REQUIRE(answers.size() == codes.size());
  for (std::size_t i = 1; i < answers.size(); ++i) {
    CHECK(answers[i].rc == codes[i]);
    CHECK(answers[i].request == answers[i - 1].request + 1);
    CHECK_FALSE(answers[i].message.empty());
    CHECK(answers[i].local);
  }
  CHECK_FALSE(answers[0].local);
  CHECK(client.effects.send == sent);
}

// A client with a window of four.
struct Pipelined {
  Pipelined() : session({.pmi_id = {}, .rank = 0, .size = 2, .window = 4}) {
    session.start(effects);
    session.receive(kFdStart, effects);
    effects.clear();
  }
  std::size_t sent() const { return static_cast<std::size_t>(std::ranges::count(effects.send, '\n')); }
  ClientSession session;
  ClientEffects effects;
};

TEST_CASE("client: puts and gets are sent up to the window") {
  Pipelined client;
  for (int i = 0; i < 10; ++i) client.session.get("k" + std::to_string(i), client.effects);
  CHECK(client.sent() == 4);
  client.session.receive("cmd=get_result rc=0 value=v0\ncmd=get_result rc=-1 msg=no\ncmd=get_res",
                         client.effects);
  CHECK(client.sent() == 6);
  client.session.receive("ult rc=0 value=v2\n", client.effects);
  CHECK(client.sent() == 7);
  for (int i = 3; i < 10; ++i) {
    client.session.receive("cmd=get_result rc=0 value=v" + std::to_string(i) + "\n", client.effects);
  }
  CHECK(client.sent() == 10);
  const std::vector<Answer> answers = all<Answer>(client.effects);
  REQUIRE(answers.size() == 10);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    CHECK(answers[i].request == i + 1);
    CHECK(answers[i].value == (i == 1 ? "" : "v" + std::to_string(i)));
    CHECK(answers[i].rc == (i == 1 ? -1 : 0));
  }
}

TEST_CASE("client: other requests are sent alone") {
  using Ask = void (*)(Pipelined&);
  const struct {
    Ask ask;
    std::string_view sent;
    std::string_view reply;
  } rows[] = {
      {[](Pipelined& c) { c.session.barrier({}, c.effects); }, "cmd=barrier_in\n",
       "cmd=barrier_out rc=0 tag=1\n"},
      {[](Pipelined& c) { c.session.publish("s", "a port", c.effects); },
       "cmd=publish_name service=s port=a port\n", "cmd=publish_result rc=0 info=ok\n"},
      {[](Pipelined& c) { c.session.unpublish("s", c.effects); }, "cmd=unpublish_name service=s\n",
       "cmd=unpublish_result info=ok\n"},
      {[](Pipelined& c) { c.session.lookup("s", c.effects); }, "cmd=lookup_name service=s\n",
       "cmd=lookup_result info=ok port=a port=1 2\n"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.sent);
    Pipelined client;
    client.session.put("a", "1", client.effects);
    row.ask(client);
    client.session.get("a", client.effects);
    const std::string put = "cmd=put kvsname=kvs key=a value=1\n";
    CHECK(client.effects.send == put);
    client.session.receive("cmd=put_result rc=0\n", client.effects);
    CHECK(client.effects.send == put + std::string(row.sent));
    client.session.receive(row.reply, client.effects);
    CHECK(client.effects.send == put + std::string(row.sent) + "cmd=get kvsname=kvs key=a\n");
    client.session.receive("cmd=get_result value=1\n", client.effects);
    const std::vector<Answer> answers = all<Answer>(client.effects);
    REQUIRE(answers.size() == 3);
    CHECK(answers[1].rc == 0);
    CHECK(answers[1].value == (row.sent.starts_with("cmd=lookup") ? "a port=1 2" : ""));
    CHECK(answers[2].value == "1");
  }
}

TEST_CASE("client: the server refuses names") {
  for (const std::string_view reply : {"cmd=lookup_result rc=-1 msg=not_supported\n",
                                       "cmd=lookup_result info=notok rc=1 msg=service_not_found\n",
                                       "cmd=unknown_result rc=-1 msg=unknown_command\n"}) {
    CAPTURE(reply);
    Started client;
    client.effects.clear();
    client.session.lookup("s", client.effects);
    client.session.receive(reply, client.effects);
    REQUIRE(all<Answer>(client.effects).size() == 1);
    CHECK(all<Answer>(client.effects)[0].rc != 0);
    CHECK_FALSE(all<Answer>(client.effects)[0].message.empty());
  }
}

TEST_CASE("client: replies of Hydra, Flux and Slurm") {
  const struct {
    std::string_view reply;
    std::string_view value;
  } rows[] = {
      {"cmd=get_result rc=0 msg=success value=a b  c\n", "a b  c"},
      {"cmd=get_result value=\n", ""},
      {"cmd=get_result value=a=b value=c\n", "a=b value=c"},
      {"cmd=get_result msg=all went well rc=0 value=x\n", "x"},
      {"cmd=get_result   found=TRUE\trc=0  value=x\n", "x"},
      {"cmd=get_result rc=0 msg=success value=x found=TRUE\n", "x"},
      {"cmd=get_result rc=0 value=x found=TRUEish\n", "x found=TRUEish"},
      {"cmd=get_result more=1 rc=0 rc=1 value=x\n", "x"},
      {"\n \ncmd=get_result value=rc=1\n", "rc=1"},
      {"cmd=get_result rc=+0 value=x\n", "x"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.reply);
    Started client;
    client.effects.clear();
    client.session.get("k", client.effects);
    client.session.receive(row.reply, client.effects);
    REQUIRE(all<Answer>(client.effects).size() == 1);
    CHECK(all<Answer>(client.effects)[0].rc == 0);
    CHECK(all<Answer>(client.effects)[0].value == row.value);
  }
}

TEST_CASE("client: spawned is set by the environment or by the server") {
  ClientSession inherited({.pmi_id = {}, .rank = 0, .size = 1, .handshake_only = true, .spawned = true});
  ClientEffects effects;
  inherited.start(effects);
  REQUIRE(all<Ready>(effects).size() == 1);
  CHECK(all<Ready>(effects)[0].info.spawned);
  const std::string_view identity[] = {"cmd=initack\n", "cmd=initack rc=0 spawner-jobid=kvs_1\n"};
  for (const std::string_view initack : identity) {
    ClientSession session({.pmi_id = "1", .handshake_only = true});
    effects.clear();
    session.start(effects);
    session.receive(std::string(initack) + "cmd=set size=1\ncmd=set rank=0\ncmd=set debug=0\n", effects);
    REQUIRE(all<Ready>(effects).size() == 1);
    CHECK(all<Ready>(effects)[0].info.spawned == (initack.find("spawner") != std::string_view::npos));
  }
}

TEST_CASE("client: a PMI_ID of 128 bits is sent unchanged") {
  ClientSession session({.pmi_id = "0123456789abcdef0123456789abcdef"});
  ClientEffects effects;
  session.start(effects);
  CHECK(effects.send == "cmd=initack pmiid=0123456789abcdef0123456789abcdef\n");
}

TEST_CASE("client: abort is sent before waiting requests, as one line") {
  Started client;
  client.session.barrier({}, client.effects);
  client.session.get("k", client.effects);
  client.effects.clear();
  client.session.abort(42, "out of\nmemory", client.effects);
  CHECK(client.effects.send == "cmd=abort exitcode=42 message=out of memory\n");
  client.effects.clear();
  client.session.abort(-1, std::string(100'000, 'm'), client.effects);
  CHECK(client.effects.send.size() < kMaxLine);
  client.effects.clear();
  client.session.abort(1, "", client.effects);
  CHECK(client.effects.send == "cmd=abort exitcode=1\n");
}

TEST_CASE("client: requests and the end of the connection after finalize") {
  Started client;
  client.effects.clear();
  client.session.finalize(client.effects);
  client.session.receive("cmd=finalize_ack rc=0\n", client.effects);
  client.session.get("k", client.effects);
  REQUIRE(all<Answer>(client.effects).size() == 2);
  CHECK(all<Answer>(client.effects)[0].rc == 0);
  CHECK(all<Answer>(client.effects)[1].rc == 1);
  client.session.eof(client.effects);
  CHECK(all<Failed>(client.effects).empty());
  CHECK(client.effects.close);
}

TEST_CASE("client: a server that supports only PMI-2 is reported as such") {
  for (const std::string_view reply : {"cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n",
                                       "cmd=response_to_init rc=-1 pmi_version=2 pmi_subversion=0\n"}) {
    Started client(reply);
    REQUIRE(all<Failed>(client.effects).size() == 1);
    CHECK(all<Failed>(client.effects)[0].reason == Failed::Reason::protocol);
    CHECK(all<Failed>(client.effects)[0].message == "the server supports only PMI 2, this client uses PMI 1");
  }
}

TEST_CASE("client: unexpected replies are protocol errors") {
  for (const std::string_view line : {"cmd=barrier_out\n", "cmd=put_result rc=0\n", "cmd=get_result rc=0\n",
                                      "junk\n", "cmd=get_result value=a\0\n"}) {
    CAPTURE(line);
    Started client;
    client.effects.clear();
    client.session.get("k", client.effects);
    client.session.receive(std::string_view(line.data(), line.size()), client.effects);
    client.session.receive(std::string(kMaxLine, 'x'), client.effects);
    REQUIRE(all<Failed>(client.effects).size() == 1);
    CHECK(all<Failed>(client.effects)[0].reason == Failed::Reason::protocol);
  }
  Started idle;
  idle.effects.clear();
  idle.session.receive("cmd=barrier_out\n", idle.effects);
  CHECK(all<Failed>(idle.effects).size() == 1);
}

TEST_CASE("client: barrier groups need PMI-1.2, and attributes PMI-2") {
  ClientOptions options;
  options.size = 2;
  options.subversion = 2;
  ClientSession session(options);
  ClientEffects effects;
  session.start(effects);
  CHECK(effects.send == "cmd=init pmi_version=1 pmi_subversion=2\n");
  std::string script(kFdStart);
  script.replace(script.find("subversion=1"), 12, "subversion=2");
  session.receive(script, effects);
  effects.clear();
  session.barrier("0,1:5", effects);
  CHECK(effects.send == "cmd=barrier_in group=0,1:5\n");
  session.receive("cmd=barrier_out rc=0 tag=5\n", effects);
  session.barrier("invalid", effects);
  session.get_node_attribute("a", false, effects);
  Started older;
  older.effects.clear();
  older.session.barrier("WORLD", older.effects);
  CHECK(older.effects.send.empty());
  const std::vector<Answer> answers = all<Answer>(effects);
  REQUIRE(answers.size() == 3);
  CHECK(answers[0].rc == 0);
  CHECK(answers[1].rc == 3);
  CHECK(answers[2].rc == -1);
  REQUIRE(all<Answer>(older.effects).size() == 1);
  CHECK(all<Answer>(older.effects)[0].rc == -1);
}

TEST_CASE("client: the server reads a spawn as the client wrote it") {
  const SpawnRequest request{{{"a", {"b c", ""}, 2, {{"wdir", "/tmp"}}}, {"d", {}, 1, {}}}, {{"k", "v"}}};
  for (const wire::Version version : {wire::Version::v1, wire::Version::v2}) {
    const std::string text = format_spawn(request, version);
    SpawnReader reader(version);
    std::string scratch;
    if (version == wire::Version::v2) {
      wire::FieldReader fields(std::string_view(text).substr(wire::kFrameHeader), scratch);
      for (wire::FieldReader::Field field; fields.next(field);) reader.field(field.name, field.value);
    } else {
      for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        if (line == "mcmd=spawn") reader.begin_command();
        if (line == "endcmd") reader.end_command();
        if (line.find('=') != std::string_view::npos) {
          reader.field(line.substr(0, line.find('=')), line.substr(line.find('=') + 1));
        }
      }
    }
    CHECK(reader.finish().empty());
    const SpawnRequest read = reader.take();
    REQUIRE(read.commands.size() == 2);
    CHECK(read.commands[0].args == request.commands[0].args);
    CHECK(read.commands[0].info == request.commands[0].info);
    CHECK(read.commands[1].ranks == 1);
    CHECK(read.preput == request.preput);
  }
  CHECK(format_spawn({{{"a", {"b\nc"}, 1, {}}}, {}}, wire::Version::v1).empty());
  CHECK(format_spawn({{{"a", {"b;c"}, 1, {}}}, {}}, wire::Version::v2).empty());
}

}  // namespace
}  // namespace wireup::engine
