// ClientSession in PMI-2 with scripted servers.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/client_events.h"
#include "engine/client_session.h"
#include "engine/frame.h"

namespace wireup::engine {
namespace {

const std::string kStart2 =
    "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n" +
    frame("cmd=fullinit-response;rc=0;pmi-version=2;pmi-subversion=0;rank=1;size=2;appnum=3;pmiverbose=0;") +
    frame("cmd=job-getid-response;rc=0;jobid=kvs;") +
    frame("cmd=info-getjobattr-response;rc=0;found=TRUE;value=8;");

ClientOptions version_2(bool port) {
  ClientOptions options;
  options.version = wire::Version::v2;
  options.rank = 1;
  options.size = 2;
  if (port) options.pmi_id = "77";
  return options;
}

TEST_CASE("client, PMI-2: the handshake") {
  for (const bool port : {false, true}) {
    CAPTURE(port);
    ClientOptions options = version_2(port);
    if (port) options.job_id = "12.0";
    ClientSession session(options);
    ClientEffects effects;
    session.start(effects);
    CHECK(effects.send == "cmd=init pmi_version=2 pmi_subversion=0\n");
    session.receive(kStart2, effects);
    CHECK(effects.send == "cmd=init pmi_version=2 pmi_subversion=0\n" +
                              frame(port ? "cmd=fullinit;pmirank=77;pmijobid=12.0;threaded=FALSE;"
                                         : "cmd=fullinit;pmirank=1;threaded=FALSE;") +
                              frame("cmd=job-getid;") + frame("cmd=info-getjobattr;key=universeSize;"));
    REQUIRE(all<Ready>(effects).size() == 1);
    const ClientInfo info = all<Ready>(effects)[0].info;
    CHECK(info.rank == 1);
    CHECK(info.size == 2);
    CHECK(info.appnum == 3);
    CHECK(info.universe_size == 8);
    CHECK(info.kvsname == "kvs");
    CHECK(info.version == 2);
    CHECK(info.value_max == 1024);
  }
}

TEST_CASE("client, PMI-2: a PMI_JOBID with a reserved byte") {
  for (const char* job_id : {"a;cmd=abort", "a\nb"}) {
    CAPTURE(job_id);
    ClientOptions options = version_2(false);
    options.job_id = job_id;
    ClientSession session(options);
    ClientEffects effects;
    session.start(effects);
    CHECK(effects.send.empty());
    REQUIRE(all<Failed>(effects).size() == 1);
    CHECK(all<Failed>(effects)[0].message == "PMI_JOBID has a byte that PMI cannot carry");
  }
}

TEST_CASE("client, PMI-2: failures of the handshake") {
  using Reason = Failed::Reason;
  const std::string init = "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n";
  const struct {
    std::string script;
    bool eof;
    Reason reason;
  } rows[] = {
      {"", true, Reason::refused},
      {init, true, Reason::refused},
      {"cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=-1\n", false, Reason::refused},
      {"cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n", false, Reason::protocol},
      {init + "cmd=no frame\n", false, Reason::protocol},
      {init + frame("cmd=fullinit-response;rc=1;errmsg=no;"), false, Reason::refused},
      {init + frame("cmd=fullinit-response;rc=0;rank=2;size=2;"), false, Reason::protocol},
      {init + frame("cmd=kvs-get-response;rc=0;found=FALSE;"), false, Reason::protocol},
  };
  for (const auto& row : rows) {
    CAPTURE(row.script);
    ClientSession session(version_2(true));
    ClientEffects effects;
    session.start(effects);
    session.receive(row.script, effects);
    if (row.eof) session.eof(effects);
    REQUIRE(all<Failed>(effects).size() == 1);
    CHECK(all<Failed>(effects)[0].reason == row.reason);
    CHECK(effects.close);
  }
}

TEST_CASE("client, PMI-2: requests and replies") {
  using Ask = void (*)(ClientSession&, ClientEffects&);
  const struct {
    Ask ask;
    std::string sent;  // empty: nothing
    std::string reply;
    std::int32_t rc;
    std::string value;
  } rows[] = {
      {[](ClientSession& c, ClientEffects& e) { c.put("k", "a=b c", e); }, "cmd=kvs-put;key=k;value=a=b c;",
       "cmd=kvs-put-response;rc=0;", 0, ""},
      {[](ClientSession& c, ClientEffects& e) { c.put("k", "a;b", e); }, "", "", 6, ""},
      {[](ClientSession& c, ClientEffects& e) { c.put("k;", "a", e); }, "", "", 4, ""},
      {[](ClientSession& c, ClientEffects& e) { c.get("k", e); }, "cmd=kvs-get;jobid=kvs;key=k;",
       "cmd=kvs-get-response;rc=0;found=TRUE;value=a;;b;", 0, "a;b"},
      {[](ClientSession& c, ClientEffects& e) { c.get("k", e); }, "cmd=kvs-get;jobid=kvs;key=k;",
       "cmd=kvs-get-response;rc=0;found=FALSE;", -1, ""},
      {[](ClientSession& c, ClientEffects& e) { c.barrier({}, e); }, "cmd=kvs-fence;",
       "cmd=kvs-fence-response;rc=0;", 0, ""},
      {[](ClientSession& c, ClientEffects& e) { c.barrier("0,1", e); }, "", "", -1, ""},
      {[](ClientSession& c, ClientEffects& e) { c.get_node_attribute("a", true, e); },
       "cmd=info-getnodeattr;key=a;wait=TRUE;", "cmd=info-getnodeattr-response;rc=0;found=TRUE;value=v;", 0,
       "v"},
      {[](ClientSession& c, ClientEffects& e) { c.put_node_attribute("a", "v", e); },
       "cmd=info-putnodeattr;key=a;value=v;", "cmd=info-putnodeattr-response;rc=0;", 0, ""},
      {[](ClientSession& c, ClientEffects& e) { c.get_job_attribute("a", e); }, "cmd=info-getjobattr;key=a;",
       "cmd=info-getjobattr-response;rc=1;errmsg=no;", 1, ""},
      {[](ClientSession& c, ClientEffects& e) { c.publish("s", "p", e); }, "cmd=name-publish;name=s;port=p;",
       "cmd=name-publish-response;rc=1;errmsg=taken;", 1, ""},
      // As Slurm's server replies.
      {[](ClientSession& c, ClientEffects& e) { c.lookup("s", e); }, "cmd=name-lookup;name=s;",
       "cmd=name-lookup-response;rc=0;value=p;", 0, "p"},
      {[](ClientSession& c, ClientEffects& e) {
         c.spawn({{{"a", {"b", "c"}, 2, {{"wdir", "/"}}}}, {{"k", "v"}}}, e);
       },
       "cmd=spawn;ncmds=1;preputcount=1;ppkey0=k;ppval0=v;subcmd=a;maxprocs=2;argc=2;argv0=b;argv1=c;"
       "infokeycount=1;"
       "infokey0=wdir;infoval0=/;",
       "cmd=spawn-response;rc=0;jobid=child;errcodes=0,1;", 0, "child"},
      {[](ClientSession& c, ClientEffects& e) { c.spawn({}, e); }, "", "", 3, ""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.sent);
    ClientSession session(version_2(false));
    ClientEffects effects;
    session.start(effects);
    session.receive(kStart2, effects);
    effects.clear();
    row.ask(session, effects);
    CHECK(effects.send == (row.sent.empty() ? "" : frame(row.sent)));
    if (!row.reply.empty()) session.receive(frame(row.reply), effects);
    REQUIRE(all<Answer>(effects).size() == 1);
    const Answer answer = all<Answer>(effects)[0];
    CHECK(answer.rc == row.rc);
    CHECK(answer.value == row.value);
    CHECK(answer.message.empty() == (row.rc == 0));
    if (answer.value == "child") CHECK(answer.errcodes == std::vector<std::int32_t>{0, 1});
  }
}

}  // namespace
}  // namespace wireup::engine
