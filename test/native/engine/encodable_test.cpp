// Text from the driver or from other programs is refused if a message cannot carry it.
#include <stdexcept>
#include <string>

#include "engine/client_session.h"
#include "engine/process_group_support.h"

namespace wireup::engine {

TEST_CASE("encodable: options with reserved bytes throw") {
  struct {
    const char* what;
    void (*change)(ProcessGroupOptions&);
  } const cases[] = {
      {"a kvsname of two lines", [](ProcessGroupOptions& options) { options.kvsname = "x\ncmd=set"; }},
      {"an empty kvsname", [](ProcessGroupOptions& options) { options.kvsname = ""; }},
      {"a spawner of two lines",
       [](ProcessGroupOptions& options) { options.spawner = "x\ncmd=set size=99"; }},
      {"a spawner of two words", [](ProcessGroupOptions& options) { options.spawner = "x size=99"; }},
      {"a spawner of two fields", [](ProcessGroupOptions& options) { options.spawner = "x;rank=0"; }},
      {"a spawner that is too long",
       [](ProcessGroupOptions& options) { options.spawner = std::string(256, 'x'); }},
      {"a key of two lines",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k\nk", "v"}};
       }},
      {"a key with a blank",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k k", "v"}};
       }},
      {"a key with an equals sign",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k=k", "v"}};
       }},
      {"an empty key",
       [](ProcessGroupOptions& options) {
         options.preput = {{"", "v"}};
       }},
      {"a key that is too long",
       [](ProcessGroupOptions& options) {
         options.preput = {{std::string(64, 'k'), "v"}};
       }},
      {"a value of two lines",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k", "v\ncmd=set"}};
       }},
      {"a value with a NUL",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k", std::string("v\0", 2)}};
       }},
      {"a value that is too long",
       [](ProcessGroupOptions& options) {
         options.preput = {{"k", std::string(1024, 'v')}};
       }},
      {"a pmi_id of two words",
       [](ProcessGroupOptions& options) { options.auth.pmi_ids = {PmiId(std::string("a b"))}; }},
      {"an empty pmi_id",
       [](ProcessGroupOptions& options) { options.auth.pmi_ids = {PmiId(std::string())}; }},
      {"a pmi_id that is too long",
       [](ProcessGroupOptions& options) { options.auth.pmi_ids = {PmiId(std::string(64, '1'))}; }},
  };
  for (const auto& row : cases) {
    CAPTURE(row.what);
    ProcessGroupOptions wrong = options(1);
    row.change(wrong);
    CHECK_THROWS_AS(ProcessGroup(std::move(wrong)), std::invalid_argument);
  }
}

TEST_CASE("encodable: the longest valid options") {
  ProcessGroupOptions longest = options(1);
  longest.kvsname = std::string(255, 'x');
  longest.spawner = std::string(255, 'y');
  longest.preput = {{std::string(63, 'k'), std::string(1023, ';')}};
  longest.auth.pmi_ids = {PmiId(std::string(63, '1'))};
  CHECK_NOTHROW(ProcessGroup(std::move(longest)));
}

TEST_CASE("encodable: a port with a newline from a name server is not sent") {
  ProcessGroupOptions elsewhere = options(1);
  elsewhere.names_elsewhere = true;
  ProcessGroup group(elsewhere);
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, std::string(kInit) + "cmd=lookup_name service=s\n", effects);
  const auto asked = queries<NameQuery>(effects);
  REQUIRE(asked.size() == 1);
  effects.clear();
  group.answer_name(asked[0].id, {.port = "p\ncmd=set size=99"}, effects);
  CHECK(sent(effects, 0) == "cmd=lookup_result rc=-1 msg=reserved_byte_in_port\n");
}

TEST_CASE("encodable: a client does not send a PMI-2 server's kvsname that has a reserved byte") {
  ClientOptions options;
  options.version = wire::Version::v2;
  ClientSession session(options);
  ClientEffects effects;
  session.start(effects);
  session.receive("cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n", effects);
  session.receive(frame("cmd=fullinit-response;rc=0;pmi-version=2;pmi-subversion=0;rank=0;size=1;appnum=0;"
                        "debugged=FALSE;pmiverbose=FALSE;"),
                  effects);
  session.receive(frame("cmd=job-getid-response;rc=0;jobid=x;;key=evil;"), effects);
  session.receive(frame("cmd=info-getjobattr-response;rc=0;found=FALSE;"), effects);
  effects.clear();
  session.get("k", effects);
  CHECK(effects.send.empty());
  REQUIRE(effects.events.size() == 1);
  CHECK(std::holds_alternative<Failed>(effects.events[0]));
}

}  // namespace wireup::engine
