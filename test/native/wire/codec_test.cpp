#include "wire/codec.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

using A = AttributeId;
using S = ParseStatus;

TEST_CASE("codec: requests of PMI-1") {
  const struct {
    std::string line;
    S status;
    std::string fault;
  } rows[] = {
      {"cmd=get_maxes", S::ok, "ok"},
      {"  cmd=get_maxes  ", S::ok, "ok"},
      {"cmd=get kvsname=a key=b", S::ok, "ok"},
      {"cmd=get key=b", S::ok, "ok"},
      {"cmd=get key=b extra=1 kvsname=a", S::ok, "ok"},
      {"", S::no_command, "no_command_in_line"},
      {"   ", S::no_command, "no_command_in_line"},
      {"key=b cmd=get", S::no_command, "no_command_in_line"},
      {"xcmd=get key=b", S::no_command, "no_command_in_line"},
      {"cmd", S::no_command, "no_command_in_line"},
      {"cmd=", S::unknown_command, "unknown_command"},
      {"cmd=getfoo", S::unknown_command, "unknown_command"},
      {"cmd=ge", S::unknown_command, "unknown_command"},
      {"cmd=get_result rc=0 value=", S::unknown_command, "unknown_command"},
      {"cmd=spawn", S::unknown_command, "unknown_command"},
      {"mcmd=get", S::unknown_command, "unknown_command"},
      {"mcmd=spawn", S::ok, "ok"},
      {"cmd=get", S::missing_attribute, "missing_attribute_key"},
      {"cmd=get keys=b", S::missing_attribute, "missing_attribute_key"},
      {"cmd=get key=a key=b", S::duplicate, "duplicate_attribute_key"},
      {"cmd=get key=a word", S::stray_word, "word_without_value"},
      {"cmd=init pmi_version=1 pmi_subversion=", S::bad_number, "bad_number_in_pmi_subversion"},
      {"cmd=init pmi_version=1 pmi_subversion=1.0", S::bad_number, "bad_number_in_pmi_subversion"},
      {"cmd=init pmi_version=2147483648 pmi_subversion=1", S::bad_number, "bad_number_in_pmi_version"},
      {"cmd=get key=" + std::string(63, 'k'), S::ok, "ok"},
      {"cmd=get key=" + std::string(64, 'k'), S::too_long, "too_long_key"},
      {std::string("cmd=get key=\0", 13), S::nul_byte, "NUL_byte_in_line"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.line);
    const Parsed parsed = parse_v1(row.line, Direction::to_server);
    CHECK(parsed.status == row.status);
    CHECK(describe(parsed) == row.fault);
  }
}

TEST_CASE("codec: a value extends to the end of the line") {
  const struct {
    std::string line;
    std::string key;
    std::string value;
  } rows[] = {
      {"cmd=put kvsname=n key=k value=v", "k", "v"},
      {"cmd=put kvsname=n key=k value=", "k", ""},
      {"cmd=put kvsname=n key=k value=a key=evil", "k", "a key=evil"},
      {"cmd=put key=k value= a  b ", "k", " a  b "},
      {"cmd=put key=k value=cmd=abort", "k", "cmd=abort"},
      {"cmd=put key=k value=x value=y", "k", "x value=y"},
      {"cmd=put key=k value=x found=TRUE", "k", "x found=TRUE"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.line);
    const Parsed parsed = parse_v1(row.line, Direction::to_server);
    CHECK(parsed.status == S::ok);
    CHECK(parsed.text(A::key) == row.key);
    CHECK(parsed.text(A::value) == row.value);
  }
}

TEST_CASE("codec: attributes under other names") {
  const Parsed flux = parse_v1("cmd=abort exit_code=5 error_msg=a b", Direction::to_server);
  CHECK(flux.integer(A::exitcode) == 5);
  CHECK(flux.text(A::message) == "a b");
  CHECK(parse_v1("cmd=abort exit_code=5 exitcode=6", Direction::to_server).status == S::duplicate);
}

TEST_CASE("codec: replies of PMI-1 are parsed with tolerance") {
  const auto read = [](std::string_view line) { return parse_v1(line, Direction::to_client); };
  const Parsed found = read("cmd=get_result rc=0 msg=success value=a b found=TRUE");
  CHECK(found.status == S::ok);
  CHECK(found.text(A::value) == "a b");
  CHECK(found.text(A::msg) == "success");

  const Parsed failed = read("cmd=publish_result rc=-1 msg=command not implemented");
  CHECK(failed.status == S::ok);
  CHECK(failed.text(A::msg) == "command not implemented");
  CHECK(failed.integer(A::rc) == -1);

  CHECK(read("cmd=get_result rc=0").status == S::missing_attribute);
  CHECK(read("cmd=get_result rc=-1").status == S::ok);
  CHECK(read("cmd=maxes rc=0 rc=1 kvsname_max=1 keylen_max=2 vallen_max=3").integer(A::rc) == 0);
  CHECK(read("cmd=universe_size size=x").status == S::bad_number);
  const Parsed initack = read("cmd=initack rc=0 size=2 rank=1 debug=0 appnum=0 spawner-jobid=x");
  CHECK(initack.status == S::ok);
  CHECK(initack.text(A::spawner_jobid) == "x");
  // The limit of a kvsname does not apply to replies.
  CHECK(read("cmd=my_kvsname kvsname=" + std::string(300, 'n')).status == S::ok);
}

TEST_CASE("codec: the writer's lines") {
  std::string out;
  MessageWriter(out, MessageId::get_result).add(A::rc, 0).add(A::msg, "success").add(A::value, "v").end();
  MessageWriter(out, MessageId::initack).add(A::pmiid, 4294967295U).end();
  CHECK(out == "cmd=get_result rc=0 msg=success value=v\ncmd=initack pmiid=4294967295\n");
}

TEST_CASE("codec: requests of PMI-2") {
  const struct {
    std::string frame;
    S status;
    std::string fault;
  } rows[] = {
      {"cmd=kvs-get;key=a;", S::ok, "ok"},
      {"cmd=kvs-get;jobid=j;srcid=-1;key=a;", S::ok, "ok"},
      {"cmd=kvs-get;key=a", S::ok, "ok"},
      {"cmd=kvs-get;key=a b=c;unknown=1;", S::ok, "ok"},
      {"cmd=fullinit;pmirank=3;threaded=FALSE;", S::ok, "ok"},
      {"cmd=fullinit;srcid=3;", S::ok, "ok"},
      {"cmd=spawn;ncmds=1;subcmd=a;subcmd=b;word;", S::ok, "ok"},
      {"", S::no_command, "no_command_in_line"},
      {";", S::no_command, "no_command_in_line"},
      {"key=a;cmd=kvs-get;", S::no_command, "no_command_in_line"},
      {"mcmd=spawn;", S::no_command, "no_command_in_line"},
      {"cmd;", S::no_command, "no_command_in_line"},
      {"cmd=;;", S::unknown_command, "unknown_command"},
      {"cmd=get;key=a;", S::unknown_command, "unknown_command"},
      {"cmd=kvs-get-response;rc=0;", S::unknown_command, "unknown_command"},
      {"cmd=kvs-get;", S::missing_attribute, "missing_attribute_key"},
      {"cmd=kvs-get;key=a;key=b;", S::duplicate, "duplicate_attribute_key"},
      {"cmd=fullinit;pmirank=0;srcid=0;", S::duplicate, "duplicate_attribute_pmiid"},
      {"cmd=kvs-get;key=a;thrid=1;thrid=1;", S::duplicate, "duplicate_attribute_thrid"},
      {"cmd=kvs-get;key=a;thrid=" + std::string(64, 't') + ";", S::too_long, "too_long_thrid"},
      {"cmd=kvs-get;key=a;word;", S::stray_word, "word_without_value"},
      {"cmd=kvs-get;srcid=x;key=a;", S::bad_number, "bad_number_in_srcid"},
      {"cmd=info-getnodeattr;key=a;wait=yes;", S::bad_boolean, "neither_TRUE_nor_FALSE_in_wait"},
      {"cmd=kvs-put;key=a;value=b\nc;", S::newline, "newline_in_value"},
      {"cmd=kvs-get;key=" + std::string(64, 'k') + ";", S::too_long, "too_long_key"},
      {std::string("cmd=kvs-get;key=\0;", 18), S::nul_byte, "NUL_byte_in_line"},
      // Commands that only PMI-1 has.
      {"cmd=kvs-fence;group=a;group=b;", S::ok, "ok"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.frame);
    std::string scratch;
    const Parsed parsed = parse_v2(row.frame, Direction::to_server, scratch);
    CHECK(parsed.status == row.status);
    CHECK(describe(parsed) == row.fault);
  }
}

TEST_CASE("codec: semicolons in values of PMI-2") {
  const struct {
    std::string_view frame;
    std::string_view key;
    std::string_view value;
    std::string_view thrid;
  } rows[] = {
      {"cmd=kvs-put;key=k;value=a b=c;", "k", "a b=c", ""},
      {"cmd=kvs-put;key=k;value=;", "k", "", ""},
      {"cmd=kvs-put;value=;key=k;", "k", "", ""},
      {"cmd=kvs-put;key=a;;b;value=;;;;c;;;", "a;b", ";;c;", ""},
      {"cmd=kvs-put;thrid=a;;b;value=;;;key=a;;;;b;", "a;;b", ";", "a;;b"},
      {"cmd=kvs-put;thrid=0x7f;key=k;value=v;;", "k", "v;", "0x7f"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.frame);
    std::string scratch = "left from before";
    const Parsed parsed = parse_v2(row.frame, Direction::to_server, scratch);
    CHECK(parsed.status == S::ok);
    CHECK(parsed.text(A::key) == row.key);
    CHECK(parsed.text(A::value) == row.value);
    CHECK(parsed.thrid == row.thrid);
  }
}

TEST_CASE("codec: replies of PMI-2 are parsed with tolerance") {
  std::string scratch;
  const auto read = [&](std::string_view frame) { return parse_v2(frame, Direction::to_client, scratch); };
  CHECK(read("cmd=kvs-get-response;rc=0;found=TRUE;value=v;").text(A::value) == "v");
  CHECK(read("cmd=kvs-get-response;rc=0;found=FALSE;").status == S::ok);
  CHECK(read("cmd=kvs-get-response;rc=0;found=TRUE;").status == S::missing_attribute);
  CHECK(read("cmd=kvs-get-response;rc=1;errmsg=not found;").text(A::msg) == "not found");
  CHECK(read("cmd=name-lookup-response;rc=0;value=p;").text(A::port) == "p");
  CHECK(read("cmd=name-lookup-response;rc=0;port=p;value=q;").text(A::port) == "p");
  CHECK(read("cmd=kvs-put-response;rc=0;rc=1;word;").integer(A::rc) == 0);
  const Parsed hydra = read("cmd=fullinit-response;rank=1;size=2;appnum=0;pmiverbose=0;rc=0;");
  CHECK(hydra.integer(A::size) == 2);
}

TEST_CASE("codec: the writer's frames") {
  std::string out = "before";
  MessageWriter(out, MessageId::get_result, Version::v2, "0x1").add(A::rc, 0).add(A::value, "v").end();
  MessageWriter(out, MessageId::kvs_destroyed).add(A::rc, 0).end();
  MessageWriter(out, MessageId::put_result, Version::v2).add(A::rc, -1).add(A::msg, "no").end();
  MessageWriter(out, "ring-response", Version::v2).add(A::rc, -1).add(A::msg, "no").end();
  CHECK(out ==
        "before    44cmd=kvs-get-response;thrid=0x1;rc=0;value=v;cmd=kvs_destroyed rc=0\n"
        "    37cmd=kvs-put-response;rc=-1;errmsg=no;    34cmd=ring-response;rc=-1;errmsg=no;");
}

TEST_CASE("codec: names of numbered attributes") {
  const MessageSpec& spawn = spec_of(MessageId::spawn);
  const struct {
    std::string_view name;
    Version version;
    std::optional<A> attribute;
    std::uint32_t number;
  } rows[] = {
      {"arg1", Version::v1, A::arg, 1},
      {"arg100000", Version::v1, A::arg, 100000},
      {"argv0", Version::v2, A::arg, 0},
      {"infokey12", Version::v2, A::info_key, 12},
      {"argcnt", Version::v1, A::argcnt, 0},
      {"argc", Version::v2, A::argcnt, 0},
      {"arg", Version::v1, std::nullopt, 0},
      {"arg#", Version::v1, std::nullopt, 0},
      {"arg-1", Version::v1, std::nullopt, 0},
      {"arg1x", Version::v1, std::nullopt, 0},
      {"arg99999999999", Version::v1, std::nullopt, 0},
      {"arg1", Version::v2, std::nullopt, 0},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    std::uint32_t number = 0;
    const AttributeSpec* attribute = find_attribute(spawn, row.name, row.version, &number);
    REQUIRE((attribute != nullptr) == row.attribute.has_value());
    if (attribute == nullptr) continue;
    CHECK(attribute->id == *row.attribute);
    CHECK(number == row.number);
  }
}

}  // namespace
}  // namespace wireup::wire
