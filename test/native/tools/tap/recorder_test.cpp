// What the recorder writes, and what it does if its file is slow.
#include "tools/tap/recorder.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "os/fd.h"
#include "runtime/blocking.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using tap::Recorder;
using tap::RecorderOptions;
using wire::Side;

constexpr auto kJson = wire::RecordForm::json;

// Everything that `use` makes a recorder write, without times.
template <typename Use>
std::vector<std::string> recorded(RecorderOptions options, Use use) {
  os::FdPair pipe = os::make_pipe();
  tap::begin_recording(pipe.second.get(), options);
  {
    Recorder recorder(std::move(pipe.second), options);
    use(recorder);
  }
  std::vector<std::string> lines = lines_of(read_all(pipe.first.get()));
  for (std::string& line : lines) {
    if (line.starts_with("{\"t\":")) {
      line = "{" + line.substr(line.find(',') + 1);
    } else if (options.form == wire::RecordForm::text) {
      line = line.substr(line.find(' ') + 1);
    }
  }
  return lines;
}

TEST_CASE("a recording has its header before the program starts, and a pipe without a reader does no harm") {
  os::FdPair pipe = os::make_pipe();
  RecorderOptions options{.form = kJson, .rank = 0, .size = 1};
  tap::begin_recording(pipe.second.get(), options);
  CHECK(options.start > 0);
  pipe.first.reset();
  // SIGPIPE would end this process.
  tap::begin_recording(pipe.second.get(), options);
}

TEST_CASE("a recording as JSON lines: header, connection, messages, end") {
  const auto lines = recorded({.form = kJson, .rank = 3, .size = 4, .host = "n0"}, [](Recorder& recorder) {
    recorder.connected("fd", 4711, 1000);
    recorder.received(Side::client, "cmd=get_maxes\ncmd=");
    recorder.received(Side::server, "cmd=maxes kvsname_max=256\n");
    recorder.received(Side::client, "finalize\n\xff\n");
    recorder.received(Side::server, "half");
    recorder.ended(Side::client);
    recorder.ended(Side::server);
    recorder.closed();
  });
  REQUIRE(lines.size() == 8);
  CHECK(lines[0].starts_with("{\"wireupTrace\":1,\"start\":"));
  CHECK(lines[0].find("\"by\":\"wireup tap\"") != std::string::npos);
  CHECK(lines[0].ends_with("\"host\":\"n0\",\"size\":4}"));
  const std::string head = R"({"group":0,"rank":3,)";
  CHECK(lines[1] == head + R"("event":"connected","peer":"fd","uid":1000,"pid":4711})");
  CHECK(lines[2] == head + R"("dir":"C","wire":"1","text":"cmd=get_maxes"})");
  CHECK(lines[3] == head + R"("dir":"S","wire":"1","text":"cmd=maxes kvsname_max=256"})");
  CHECK(lines[4] == head + R"("dir":"C","wire":"1","text":"cmd=finalize"})");
  CHECK(lines[5] == head + R"("dir":"C","wire":"1","base64":"/w=="})");
  CHECK(lines[6] == head + R"("dir":"S","wire":"raw","text":"half"})");
  CHECK(lines[7] == head + R"("event":"closed"})");
}

TEST_CASE("a rank between init and finalize is lost, and a server that ends first is named") {
  const auto by = [](Side first, std::string_view sent = "cmd=init pmi_version=1 pmi_subversion=1\n") {
    return recorded({.form = kJson, .rank = 0}, [&](Recorder& recorder) {
      recorder.received(Side::client, sent);
      recorder.ended(first);
      recorder.closed();
    });
  };
  CHECK(by(Side::client).back() == R"({"group":0,"rank":0,"event":"closed","lost":true})");
  CHECK(by(Side::server).back() ==
        R"({"group":0,"rank":0,"event":"closed","reason":"the server has closed it","lost":true})");
  for (const std::string_view sent : {"", "cmd=initack pmiid=0\n", "cmd=finalize\n"})
    CHECK(by(Side::client, sent).back() == R"({"group":0,"rank":0,"event":"closed"})");
}

TEST_CASE("PMI_ID is masked in the handshake, unless it shall be kept") {
  const auto with = [](bool secrets) {
    return recorded({.secrets = secrets, .rank = 1}, [](Recorder& recorder) {
      recorder.handshake(Side::client, "cmd=initack pmiid=1804289383\n");
      // On PMI_FD this is the rank.
      recorder.received(Side::client, "cmd=fullinit pmirank=1\n");
    });
  };
  CHECK(with(false) ==
        std::vector<std::string>{"1: C: cmd=initack pmiid=***", "1: C: cmd=fullinit pmirank=1"});
  CHECK(with(true).front() == "1: C: cmd=initack pmiid=1804289383");
}

TEST_CASE("frames of PMI-2 are records of their own") {
  const auto lines = recorded({.form = kJson, .rank = 0}, [](Recorder& recorder) {
    recorder.received(Side::client, "cmd=init pmi_version=2 pmi_subversion=0\n");
    recorder.received(Side::server, "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n");
    recorder.received(Side::client, "     9cmd=full;");
    recorder.received(Side::client, "nonsense");
  });
  REQUIRE(lines.size() == 5);
  CHECK(lines[3] == R"({"group":0,"rank":0,"dir":"C","wire":"2","text":"cmd=full;"})");
  CHECK(lines[4] == R"({"group":0,"rank":0,"dir":"C","wire":"raw","text":"nonsense"})");
}

TEST_CASE("a file that is not read delays nothing, and what is dropped is counted") {
  os::FdPair pipe = os::make_pipe();
  constexpr int kMessages = 20'000;
  const std::string message = "cmd=put key=k value=" + std::string(1000, 'v') + "\n";
  std::string text;
  std::thread reader;
  {
    Recorder recorder(std::move(pipe.second), {.rank = 0});
    // Much more than a pipe and the recorder's buffer hold.
    for (int i = 0; i < kMessages; ++i) recorder.received(Side::client, message);
    reader = std::thread([&] { text = read_all(pipe.first.get()); });
  }
  reader.join();
  std::uint64_t count = 0;
  std::uint64_t dropped = 0;
  for (const std::string& line : lines_of(text)) {
    const std::string rest = line.substr(line.find(' ') + 1);
    if (rest.starts_with("0: dropped ")) {
      dropped += std::stoull(rest.substr(std::string("0: dropped ").size()));
    } else {
      CHECK(rest == "0: C: " + message.substr(0, message.size() - 1));
      ++count;
    }
  }
  CHECK(dropped > 0);
  CHECK(count + dropped == kMessages);
}

TEST_CASE("a full disk ends the recording, not the rank") {
  os::UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  Recorder recorder(std::move(full), {.rank = 0});
  for (int i = 0; i < 100; ++i) recorder.received(Side::client, "cmd=get_maxes\n");
}

}  // namespace
