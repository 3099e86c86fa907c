// The output and stdin of wireup-agent on another host than 0. The test is the agent of host 0.
#include <functional>
#include <map>
#include <variant>

#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

// Receives messages of any kind, and sorts them.
class OtherHost {
 public:
  explicit OtherHost(msg::Hello plans, std::vector<std::uint32_t> readers = {}) {
    agent.host = 1;
    agent.readers = std::move(readers);
    agent.hello(std::move(plans));
  }

  // Starts a rank and returns its pid.
  pid_t start(msg::StartRank rank) {
    const std::uint32_t task = rank.rank;
    rank.reads_stdin = std::ranges::count(agent.readers, task) > 0;
    agent.send(msg::Start{0, {std::move(rank)}});
    receive_until([&] { return pids.contains(task); });
    return pids[task];
  }

  void receive_until(const std::function<bool()>& done) {
    while (!done()) receive();
  }
  void receive() {
    const auto message = agent.receive();
    REQUIRE(message.has_value());
    if (const auto* output = std::get_if<msg::Output>(&*message)) {
      outputs.push_back(*output);
      text[{output->stream, output->task}] += output->bytes;
      cost[{output->stream, output->task}] += msg::cost(*output);
    } else if (const auto* credit = std::get_if<msg::Credit>(&*message)) {
      CHECK(credit->stream == 0);
      credits += credit->bytes;
    } else if (const auto* left = std::get_if<msg::InputReaders>(&*message)) {
      readers.push_back(left->left);
    } else if (const auto* started = std::get_if<msg::Started>(&*message)) {
      pids[started->task] = started->pid;
    } else if (const auto* exited = std::get_if<msg::Exited>(&*message)) {
      exits.push_back(*exited);
    } else if (std::holds_alternative<msg::OutputLost>(*message)) {
      ++lost;
    } else if (std::holds_alternative<msg::Done>(*message)) {
      done = true;
    } else {
      REQUIRE(std::holds_alternative<msg::Events>(*message));
    }
  }
  // Acknowledges everything that has been received.
  void acknowledge() {
    for (auto& [key, bytes] : cost) {
      if (bytes > 0) agent.send(msg::Credit{key.first, key.second, static_cast<std::uint32_t>(bytes)});
      bytes = 0;
    }
  }

  using Key = std::pair<std::uint32_t, std::int64_t>;
  Driver agent;
  std::vector<msg::Output> outputs;
  std::map<Key, std::string> text;
  std::map<Key, std::size_t> cost;  // not acknowledged
  std::size_t credits = 0;          // of stdin
  std::vector<bool> readers;
  std::map<std::uint32_t, pid_t> pids;
  std::vector<msg::Exited> exits;
  int lost = 0;
  bool done = false;
};

TEST_CASE("an agent of another host sends labelled lines, and is done when they are acknowledged") {
  OtherHost host(Driver::labelled());
  host.agent.shell("echo out; echo err >&2; printf unended");
  host.start({.rank = 4});
  host.receive_until([&] { return host.exits.size() == 1; });
  host.agent.end();
  host.receive_until([&] { return host.text[{1, -1}].ends_with("unended\n") || host.outputs.size() > 3; });
  CHECK(host.text[{1, -1}] == "[4] out\n[4] unended\n");
  CHECK(host.text[{2, -1}] == "[4] err\n");
  CHECK(host.agent.silent());
  CHECK_FALSE(host.done);
  host.acknowledge();
  host.receive_until([&] { return host.done; });
  CHECK(host.agent.wait().value == 0);
}

TEST_CASE("an agent of another host stops reading its ranks without credit, until a second End") {
  OtherHost host({.out = {msg::OutputMode::merge}});
  host.agent.program({"yes"});
  const pid_t rank = host.start({.rank = 0});
  const auto full = [&] { return host.cost[{1, -1}] + msg::kMaxPart + 4096 > msg::kMaxUnacknowledged; };
  for (int round = 0; round < 20; ++round) {
    host.receive_until(full);
    REQUIRE(eventually([&] { return state_of(rank) == 'S'; }));
    CHECK(host.cost[{1, -1}] <= msg::kMaxUnacknowledged);
    host.acknowledge();
  }
  host.receive_until(full);
  host.agent.end();
  host.receive_until([&] { return host.exits.size() == 1; });
  CHECK(host.agent.silent());
  host.agent.end(10);
  host.receive_until([&] { return host.done; });
  CHECK(host.agent.wait().value == 0);
}

TEST_CASE("ranks of another host get SIGPIPE if host 0 cannot write their output") {
  OtherHost host(Driver::labelled());
  host.agent.program({"yes"});
  host.start({.rank = 0});
  host.receive_until([&] { return host.outputs.size() >= 2; });
  host.agent.send(msg::CloseOutput{1, -1, EPIPE});
  host.receive_until([&] { return host.exits.size() == 1; });
  CHECK(host.exits.front().signaled);
  CHECK(host.exits.front().value == SIGPIPE);
  // Host 0 reports it.
  CHECK(host.lost == 0);
  host.agent.end();
  host.receive_until([&] { return host.done; });
}

TEST_CASE("an agent of another host sends the output of a task with a pipe of its own unchanged") {
  OtherHost host(Driver::labelled());
  host.agent.shell("printf 'no newline'; echo joined >&2");
  host.start({.rank = 7, .fds = {1}});
  const auto ended = [&] {
    return !host.outputs.empty() && std::ranges::any_of(host.outputs, [](const msg::Output& output) {
      return output.task == 7 && output.bytes.empty();
    });
  };
  host.receive_until([&] { return ended() && host.exits.size() == 1 && !host.text[{2, -1}].empty(); });
  CHECK(host.text[{1, 7}] == "no newline");
  CHECK(host.text[{2, -1}] == "[7] joined\n");
  host.acknowledge();
  host.agent.end();
  host.receive_until([&] { return host.done; });
}

TEST_CASE("stdin of a rank on another host comes from host 0") {
  OtherHost host(Driver::labelled(), {0, 1});
  host.agent.program({"cat"}, 0);
  host.agent.program({"sh", "-c", "read -r line; echo $line; exit 3"}, 1);
  host.start({.rank = 0});
  CHECK(host.readers.empty());
  host.start({.rank = 1, .program = 1});
  host.receive_until([&] { return !host.readers.empty(); });
  CHECK(host.readers == std::vector<bool>{true});
  host.agent.send(msg::Input{"one\n"});
  host.receive_until([&] { return host.credits == 4 && host.exits.size() == 1; });
  CHECK(host.exits.front().value == 3);
  host.agent.send(msg::Input{"two\n"});
  host.agent.send(msg::Input{});
  host.receive_until([&] { return host.exits.size() == 2; });
  CHECK(host.exits.back().value == 0);
  host.agent.end();
  host.receive_until([&] { return host.text[{1, -1}].size() == 24; });
  const auto lines = lines_of(host.text[{1, -1}]);
  CHECK(std::ranges::count(lines, "[0] one") == 1);
  CHECK(std::ranges::count(lines, "[0] two") == 1);
  CHECK(std::ranges::count(lines, "[1] one") == 1);
  // Host 0 has ended stdin, so it waits for no reader.
  CHECK(host.readers == std::vector<bool>{true});
  host.acknowledge();
  host.receive_until([&] { return host.done; });
}

TEST_CASE("an agent of another host reports when its last reader of stdin has gone") {
  OtherHost host({}, {0});
  host.agent.program({"true"});
  host.start({.rank = 0});
  host.receive_until([&] { return host.readers.size() == 2; });
  CHECK(host.readers == std::vector<bool>{true, false});
  host.receive_until([&] { return host.exits.size() == 1; });
  host.agent.end();
  host.receive_until([&] { return host.done; });
}

TEST_CASE("an agent refuses messages of output and stdin that are not for its host") {
  const auto refused = [](std::uint32_t number, const msg::Message& message) {
    os::FdPair err = os::make_pipe();
    Driver agent({.err = err.second.get()});
    err.second.reset();
    agent.host = number;
    agent.hello(Driver::labelled());
    agent.program({"cat"});
    agent.send(message);
    CHECK(agent.wait().value == 1);
    return read_all(err.first.get());
  };
  const auto check = [&](std::uint32_t number, const msg::Message& message, const std::string& word) {
    CAPTURE(word);
    CHECK(refused(number, message).find(word) != std::string::npos);
  };
  check(0, msg::Credit{1, -1, 1}, "acknowledges an unknown stream");
  check(0, msg::CloseOutput{1, -1, EPIPE}, "closes an unknown stream");
  check(0, msg::Input{"text"}, "input without a reader");
  check(0, msg::TaskPipes{1, 1, {1}}, "fds");
  check(1, msg::TaskPipes{1, 1, {}}, "not for this host");
  check(0, msg::RankProcesses{"n1", "a.out", {1, 2}, {1}}, "a process for each rank");
  check(0, msg::RankProcesses{"n1", "a.out", {1U << 20}, {1}}, "a rank that does not exist");
  check(1, msg::RankProcesses{}, "not for this host");
  check(1, msg::Input{"text"}, "input without a reader");
  check(1, msg::Credit{0, -1, 0}, "acknowledges an unknown stream");
  check(1, msg::Start{0, {{.rank = 0, .fds = {3}}}}, "bad fd number");
}

}  // namespace
