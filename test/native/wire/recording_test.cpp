#include "wire/recording.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "wire/message_splitter.h"

namespace wireup::wire {
namespace {

struct Cut {
  Framing framing;
  std::string content;
  std::string length = {};
  bool operator==(const Cut&) const = default;
};

// One read: its side, and its bytes.
struct Read {
  Side side;
  std::string bytes;
};

std::vector<Cut> cut(const std::vector<Read>& reads, std::size_t chunk, std::size_t limit = 64) {
  MessageSplitter splitter(limit);
  std::vector<Cut> cuts;
  const auto add = [&](const CutMessage& message) {
    cuts.push_back({message.framing, std::string(message.content), std::string(message.length)});
  };
  for (const Read& read : reads) {
    for (std::size_t at = 0; at < read.bytes.size(); at += chunk) {
      std::string_view input = std::string_view(read.bytes).substr(at, chunk);
      while (const auto message = splitter.next(read.side, input)) add(*message);
      CHECK(input.empty());
    }
  }
  for (const Side side : {Side::client, Side::server}) {
    if (const auto rest = splitter.rest(side)) add(*rest);
  }
  return cuts;
}

// The bytes of one side, as a reader of the recording rebuilds them.
std::string rebuild(const std::vector<Cut>& cuts) {
  std::string bytes;
  for (const Cut& cut : cuts) {
    bytes += cut.length + cut.content;
    if (cut.framing == Framing::line) bytes += '\n';
  }
  return bytes;
}

const std::string kInit2 = "cmd=init pmi_version=2 pmi_subversion=0\n";

TEST_CASE("splitter: messages do not depend on how reads split the bytes") {
  const struct {
    const char* name;
    std::vector<Read> reads;
    std::vector<Cut> cuts;
  } rows[] = {
      {"nothing", {}, {}},
      {"lines",
       {{Side::client, "a\n\nbc\n"}},
       {{Framing::line, "a"}, {Framing::line, ""}, {Framing::line, "bc"}}},
      {"a line without an end", {{Side::client, "a\nb"}}, {{Framing::line, "a"}, {Framing::raw, "b"}}},
      {"frames of both kinds, after both have agreed",
       {{Side::client, kInit2},
        {Side::server, "cmd=response_to_init pmi_version=2 rc=0\n"},
        {Side::client, "     3a=1"},
        {Side::server, "3     b\n2"}},
       {{Framing::line, kInit2.substr(0, kInit2.size() - 1)},
        {Framing::line, "cmd=response_to_init pmi_version=2 rc=0"},
        {Framing::frame, "a=1", "     3"},
        {Framing::frame, "b\n2", "3     "}}},
      {"lines, if the server declines",
       {{Side::client, kInit2},
        {Side::server, "cmd=response_to_init pmi_version=1 rc=-1\n"},
        {Side::client, "a\n"}},
       {{Framing::line, kInit2.substr(0, kInit2.size() - 1)},
        {Framing::line, "cmd=response_to_init pmi_version=1 rc=-1"},
        {Framing::line, "a"}}},
      {"an incomplete frame",
       {{Side::client, kInit2}, {Side::client, "     9abc"}},
       {{Framing::line, kInit2.substr(0, kInit2.size() - 1)}, {Framing::raw, "     9abc"}}},
      {"the words inside a value mean nothing",
       {{Side::client, "cmd=put value=x pmi_version=2\n"}, {Side::client, "     3a=1\n"}},
       {{Framing::line, "cmd=put value=x pmi_version=2"}, {Framing::line, "     3a=1"}}},
  };
  for (const auto& row : rows) {
    for (const std::size_t chunk : {1, 2, 5, 1000}) {
      CAPTURE(row.name);
      CAPTURE(chunk);
      CHECK(cut(row.reads, chunk) == row.cuts);
    }
  }
}

TEST_CASE("splitter: what is too long or has an invalid length is passed on raw, and no byte is lost") {
  const std::string too_long = std::string(100, 'x') + "\nnext\n";
  const std::string invalid = kInit2 + "  x   abc\ndef";
  for (const std::string& bytes : {too_long, invalid}) {
    for (const std::size_t chunk : {1, 3, 64, 1000}) {
      CAPTURE(bytes);
      CAPTURE(chunk);
      CHECK(rebuild(cut({{Side::client, bytes}}, chunk)) == bytes);
    }
  }
  const std::vector<Cut> cuts = cut({{Side::client, too_long}}, 50);
  CHECK(cuts.front().framing == Framing::raw);
  CHECK(cuts.back() == Cut{Framing::line, "next"});
}

std::string record(RecordForm form, const RecordHead& head, const CutMessage& message) {
  std::string out;
  append_record(out, form, head, Side::client, message);
  return out;
}

TEST_CASE("recording: a message as JSON and as text") {
  using namespace std::literals;
  const RecordHead rank{.time = 1'002'003, .rank = 3};
  const struct {
    RecordHead head;
    CutMessage message;
    std::string json;
    std::string text;
  } rows[] = {
      {rank,
       {Framing::line, "cmd=get key=k"},
       R"({"t":1002003,"group":0,"rank":3,"dir":"C","wire":"1","text":"cmd=get key=k"})",
       "1.002003 3: C: cmd=get key=k"},
      {{.time = 0, .group = 1, .rank = 0, .host = "n1"},
       {Framing::line, "a\"b\\c\x01\xc3\xa9"},
       R"({"t":0,"group":1,"rank":0,"host":"n1","dir":"C","wire":"1","text":"a\"b\\c\u0001é"})",
       "0.000000 1.0: C: a\"b\\c\\x01é"},
      {{.time = 1, .connection = 7},
       {Framing::raw, "\xff\0"sv},
       R"({"t":1,"group":0,"conn":7,"dir":"C","wire":"raw","base64":"/wA="})",
       "0.000001 ?7: C~ \\xff\\x00"},
      {rank,
       {Framing::frame, "a=1", "     3"},
       R"({"t":1002003,"group":0,"rank":3,"dir":"C","wire":"2","text":"a=1"})",
       "1.002003 3: C: a=1"},
      {rank,
       {Framing::frame, "a=1", "3     "},
       R"({"t":1002003,"group":0,"rank":3,"dir":"C","wire":"2","length":"3     ","text":"a=1"})",
       "1.002003 3: C: a=1"},
  };
  for (const auto& row : rows) {
    CHECK(record(RecordForm::json, row.head, row.message) == row.json + "\n");
    CHECK(record(RecordForm::text, row.head, row.message) == row.text + "\n");
  }
}

TEST_CASE("recording: base64 of each length") {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"\xff", "/w=="}, {"\xff\xfe", "//4="}, {"\xff\xfe\xfd", "//79"}, {"\xff\xfe\xfd\xfc", "//79/A=="}};
  for (const auto& [bytes, base64] : rows) {
    const std::string line = record(RecordForm::json, {}, {Framing::raw, bytes});
    CHECK(line.find("\"base64\":\"" + std::string(base64) + "\"") != std::string::npos);
  }
}

TEST_CASE("recording: events") {
  const auto line = [](RecordForm form, const RecordedEvent& event) {
    std::string out;
    append_record(out, form, {.time = 5, .rank = 2}, event);
    return out;
  };
  const RecordedEvent refused{
      .event = "refused", .reason = "not\n allowed", .peer = "unix", .uid = 7, .pid = 9};
  CHECK(
      line(RecordForm::json, refused) ==
      R"({"t":5,"group":0,"rank":2,"event":"refused","reason":"not\u000a allowed","peer":"unix","uid":7,"pid":9})"
      "\n");
  CHECK(line(RecordForm::text, refused) == "0.000005 2: refused unix uid 7 pid 9: not\\n allowed\n");
  CHECK(line(RecordForm::json, {.event = "closed", .lost = true}) ==
        "{\"t\":5,\"group\":0,\"rank\":2,\"event\":\"closed\",\"lost\":true}\n");
  CHECK(line(RecordForm::text, {.event = "dropped", .count = 3}) == "0.000005 2: dropped 3 records\n");
}

TEST_CASE("recording: PMI_IDs are masked, nothing else is") {
  const struct {
    CutMessage message;
    std::optional<std::string> masked;
  } rows[] = {
      {{Framing::line, "cmd=initack pmiid=12345"}, "cmd=initack pmiid=***"},
      {{Framing::line, "pmiid=1 x=2 pmiid=3"}, "pmiid=*** x=2 pmiid=***"},
      {{Framing::frame, "cmd=fullinit;pmirank=99;threaded=0;"}, "cmd=fullinit;pmirank=***;threaded=0;"},
      {{Framing::frame, "cmd=fullinit;srcid=99;threaded=FALSE;"}, "cmd=fullinit;srcid=***;threaded=FALSE;"},
      {{Framing::raw, "cmd=initack pmiid=12"}, "***"},
      {{Framing::line, "cmd=init pmi_version=1"}, std::nullopt},
      {{Framing::line, "cmd=initack,pmiid=123=4"}, "cmd=initack,pmiid=***"},
      {{Framing::line, ""}, std::nullopt},
  };
  for (const auto& row : rows) CHECK(mask_secrets(row.message) == row.masked);
}

}  // namespace
}  // namespace wireup::wire
