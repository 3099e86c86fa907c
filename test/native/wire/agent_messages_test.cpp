#include "wire/agent_messages.h"

#include <doctest/doctest.h>

#include <random>

namespace {

using namespace wireup::wire::agent;

std::vector<Message> samples() {
  return {
      Hello{3,
            {OutputMode::merge},
            {OutputMode::file, "err.%r"},
            "[%r] ",
            "[%g:%r] ",
            64,
            {BindingUnit::list, {{0, 2}, {1}}},
            {1, 64},
            {10},
            1024},
      PassFds{{3, 63}},
      Hello{},
      SocketFolder{"/tmp/folder"},
      Program{
          7, "/work", "/bin", {"/shim", "-x"}, {"prog", "", std::string("a\0b", 3)}, {"A=1", "B="}, false},
      Program{},
      Start{7,
            {{9, 1, 0, {"PMI_RANK=0"}, {3, 4}, 2, "node2", true, true, false},
             {.rank = 4000000000u, .silent = true}},
            true},
      Start{},
      Signal{15, {1, 2, 3}},
      Signal{},
      End{2000},
      Status{"a line"},
      Ready{1, 4711, "host"},
      Started{9, 1234},
      Started{9, 1234, {0, 4}},
      StartFailed{1, 2, "execve", "./nowhere"},
      Exited{5, true, 9, true, true},
      Exited{5, false, -1, false},
      OutputLost{28, "file"},
      Printed{},
      Done{},
  };
}

std::size_t encoded_size(const Program& program) { return encode(program).size(); }

// Joins the parts of a program as the agent does.
Program join(const std::vector<Program>& parts) {
  Program whole;
  whole.id = parts.front().id;
  whole.directory = parts.front().directory;
  for (const Program& part : parts) {
    CHECK(part.id == whole.id);
    whole.prefix.insert(whole.prefix.end(), part.prefix.begin(), part.prefix.end());
    whole.args.insert(whole.args.end(), part.args.begin(), part.args.end());
    whole.environment.insert(whole.environment.end(), part.environment.begin(), part.environment.end());
    CHECK(part.last == (&part == &parts.back()));
  }
  return whole;
}

TEST_CASE("agent messages: decode reverses encode for every message") {
  for (const Message& message : samples()) {
    CAPTURE(message.index());
    const std::string packet = encode(message);
    const auto back = decode(packet);
    REQUIRE(back.has_value());
    CHECK(back->index() == message.index());
    CHECK(encode(*back) == packet);
  }
}

TEST_CASE("agent messages: every field keeps its value") {
  const auto hello = std::get<Hello>(*decode(encode(samples().front())));
  CHECK(hello.version == 3);
  CHECK(hello.out.mode == OutputMode::merge);
  CHECK(hello.err.mode == OutputMode::file);
  CHECK(hello.err.file == "err.%r");
  CHECK(hello.label == "[%r] ");
  CHECK(hello.spawned_label == "[%g:%r] ");
  CHECK(hello.stdin_readers == 64);
  CHECK(hello.binding.sets == std::vector<std::vector<std::uint32_t>>{{0, 2}, {1}});
  const auto spawn = std::get<Start>(*decode(encode(
      Start{7, {{.task = 5, .group = 2, .rank = 4000000000u, .environment = {"A=b"}, .fds = {3, 4}}}})));
  REQUIRE(spawn.ranks.size() == 1);
  CHECK(spawn.program == 7);
  CHECK(spawn.ranks[0].task == 5);
  CHECK(spawn.ranks[0].group == 2);
  CHECK(spawn.ranks[0].rank == 4000000000u);
  CHECK(spawn.ranks[0].environment == std::vector<std::string>{"A=b"});
  CHECK(spawn.ranks[0].fds == std::vector<std::int32_t>{3, 4});
  const auto exited = std::get<Exited>(*decode(encode(Exited{5, true, 9, true, true})));
  CHECK(exited.task == 5);
  CHECK(exited.signaled);
  CHECK(exited.value == 9);
  CHECK(exited.core_dumped);
  CHECK(exited.ended);
}

TEST_CASE("agent messages: the byte layout is fixed") {
  CHECK(encode(End{258}) == std::string("\5\2\1\0\0", 5));
  CHECK(encode(Started{2, 258}) == std::string("\10\2\0\0\0\2\1\0\0\0\0\0\0", 13));
  CHECK(encode(Done{}) == "\x0d");
}

TEST_CASE("agent messages: a message that is cut at any byte is refused") {
  for (const Message& message : samples()) {
    const std::string packet = encode(message);
    for (std::size_t size = 0; size < packet.size(); ++size) {
      CAPTURE(message.index());
      CAPTURE(size);
      CHECK_FALSE(decode(std::string_view(packet).substr(0, size)).has_value());
    }
  }
}

TEST_CASE("agent messages: extra bytes after a message are refused") {
  for (const Message& message : samples()) CHECK_FALSE(decode(encode(message) + '\0').has_value());
}

TEST_CASE("agent messages: unknown kinds, enumeration values and booleans are refused") {
  CHECK_FALSE(decode("\x0f").has_value());
  CHECK_FALSE(decode("\xff").has_value());
  std::string hello = encode(Hello{});
  hello[5] = 4;
  CHECK_FALSE(decode(hello).has_value());
  std::string exited = encode(Exited{});
  exited[5] = 2;
  CHECK_FALSE(decode(exited).has_value());
}

TEST_CASE("agent messages: a count or length beyond the packet is refused without allocating for it") {
  for (const Message& message : samples()) {
    const std::string packet = encode(message);
    for (std::size_t at = 1; at + 4 <= packet.size(); ++at) {
      std::string bad = packet;
      bad.replace(at, 4, "\xff\xff\xff\xff");
      (void)decode(bad);  // the sanitizers detect a wrong access, the test's memory limit an allocation
    }
  }
  CHECK_FALSE(decode(std::string("\3\0\0\0\0\xff\xff\xff\xff", 9)).has_value());
}

TEST_CASE("agent messages: random bytes are refused or encode to the same bytes") {
  std::mt19937 random(20240229);
  std::string packet;
  for (int round = 0; round < 200'000; ++round) {
    packet.resize(random() % 64);
    for (char& c : packet) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 12);
    if (const auto message = decode(packet)) CHECK(encode(*message) == packet);
  }
}

TEST_CASE("agent messages: mutated messages are refused or encode to the same bytes") {
  std::mt19937 random(42);
  const auto messages = samples();
  for (int round = 0; round < 100'000; ++round) {
    std::string packet = encode(messages[random() % messages.size()]);
    for (int i = 0; i < 3; ++i) packet[random() % packet.size()] = static_cast<char>(random());
    if (const auto message = decode(packet)) CHECK(encode(*message) == packet);
  }
}

TEST_CASE("agent messages: split() makes parts within the limit that join to the program") {
  Program program;
  program.id = 3;
  program.directory = "/some/where";
  program.prefix = {"/shim"};
  for (int i = 0; i < 100; ++i) program.args.push_back("argument " + std::to_string(i));
  for (int i = 0; i < 100; ++i)
    program.environment.push_back("NAME" + std::to_string(i) + "=" + std::string(i, 'x'));
  program.environment.push_back("");
  const std::string whole = encode(program);

  for (const std::size_t limit : {std::size_t{140}, std::size_t{200}, std::size_t{1000}, whole.size()}) {
    CAPTURE(limit);
    const auto parts = split(program, limit);
    REQUIRE_FALSE(parts.empty());
    for (const Program& part : parts) CHECK(encoded_size(part) <= limit);
    CHECK(encode(join(parts)) == whole);
  }
  CHECK(split(program, whole.size()).size() == 1);
  CHECK(split(program, whole.size() - 1).size() == 2);
}

TEST_CASE("agent messages: split() fails if one string exceeds the limit") {
  Program program;
  program.args = {std::string(100, 'x')};
  const std::size_t exact = encoded_size(program);
  CHECK(split(program, exact).size() == 1);
  CHECK(split(program, exact - 1).empty());
  CHECK(split(program, 0).empty());
  Program directory;
  directory.directory = std::string(100, 'd');
  CHECK(split(directory, 50).empty());
}

TEST_CASE("agent messages: split() makes one last part of an empty program") {
  const auto parts = split(Program{}, 1000);
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].last);
}

}  // namespace
