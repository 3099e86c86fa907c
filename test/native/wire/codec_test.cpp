#include "wire/codec.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

using A = AttributeId;
using S = ParseStatus;

TEST_CASE("requests") {
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

TEST_CASE("a value is the rest of the line") {
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

TEST_CASE("aliases") {
  const Parsed flux = parse_v1("cmd=abort exit_code=5 error_msg=a b", Direction::to_server);
  CHECK(flux.integer(A::exitcode) == 5);
  CHECK(flux.text(A::message) == "a b");
  CHECK(parse_v1("cmd=abort exit_code=5 exitcode=6", Direction::to_server).status == S::duplicate);
}

TEST_CASE("replies are read with tolerance") {
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
  // A server may name its space at greater length than we would.
  CHECK(read("cmd=my_kvsname kvsname=" + std::string(300, 'n')).status == S::ok);
}

TEST_CASE("written lines") {
  std::string out;
  LineWriter(out, MessageId::get_result).add(A::rc, 0).add(A::msg, "success").add(A::value, "v").end();
  LineWriter(out, MessageId::initack).add(A::pmiid, 4294967295U).end();
  CHECK(out == "cmd=get_result rc=0 msg=success value=v\ncmd=initack pmiid=4294967295\n");
}

}  // namespace
}  // namespace wireup::wire
