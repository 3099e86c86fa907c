#include "wire/agent_messages.h"

#include <doctest/doctest.h>

#include <random>
#include <set>

namespace {

using namespace wireup::wire::agent;

// Every message, with a value in every field that differs from the default, and without.
std::vector<Message> samples() {
  const Peer peer{1, 4'000'000'000, 4711, "127.0.0.1:5", "192.0.2.1", "why"};
  return {
      Hello{.version = 3,
            .host = 7,
            .name = "n7",
            .out = {OutputMode::merge},
            .err = {OutputMode::file, "err.%r"},
            .label = "[%r] ",
            .spawned_label = "[%g:%r] ",
            .stdin_readers = 64,
            .stdin_hosts = {1, 2},
            .binding = {BindingUnit::list, {{0, 2}, {1}}},
            .ignored_signals = {1, 64},
            .blocked_signals = {10},
            .soft_files = 1024,
            .inherited = {18, -5, {{4, 0}, {7, ~std::uint64_t{0}}}},
            .kvs_limit = std::uint64_t{1} << 40,
            .trace = {true, true, true, std::uint64_t{1} << 50, {{0, 3}, {7, 7}}},
            .sent_ns = std::uint64_t{1} << 60},
      Hello{},
      PassFds{{3, 63}},
      StartHost{2, "n2", {"ssh", "n2", "%s"}, {"A=1"}, "/bin/wireup-agent", 30'000, true, true},
      StartHost{},
      StartTogether{{"srun", "agent"}, {"A=1"}, {2, 1}, {"n2", "n1"}, 32, "ib0", true},
      NotTogether{"ZeroMQ is missing"},
      ExpectHost{2, "key"},
      Expected{2},
      DropHost{"a second ready"},
      Group{.number = 5,
            .first_task = 4'000'000'000,
            .kvsname = "kvs",
            .layout = {{3, 0, 1}, {1, 2, 0}},
            .nodes = {{1, "node1", 4}, {}},
            .pretend_hosts = true,
            .universe_size = 9,
            .offer_1_2 = true,
            .strict = true,
            .reported_entries = std::uint64_t{1} << 40,
            .spawner = "kvs0",
            .preput = {{"k", "v"}, {"", std::string("a\0b", 3)}},
            .allowed_uids = {{0, 0}, {1000, 2000}},
            .allowed_hosts = {"10.0.0.0/8"},
            .pmi_id = PmiIdKind::hexadecimal,
            .handshake_timeout_ms = 10'000,
            .reconnect = true,
            .descendants_only = true,
            .pmi = PmiMode::port,
            .channel_fd = 20,
            .address = "tcp://127.0.0.1:0",
            .first_port = 2000,
            .last_port = 3000,
            .private_parents = {{"TMPDIR", "/tmp"}}},
      Group{},
      ForgetGroup{5},
      AdoptRank{5, 4711},
      Program{7,
              "/work",
              "/bin",
              {"/shim", "-x"},
              {"prog", "", std::string("a\0b", 3)},
              {"A=1", "B="},
              false,
              true},
      Program{},
      ForgetProgram{7},
      Start{7, {{9, 1, {3, 4}, true, false}, {.rank = 4'000'000'000, .silent = true}}},
      Start{},
      Signal{15, {1, 2, 3}},
      Signal{},
      End{2000},
      Status{"a line"},
      Depart{1, {2, 3}, true},
      SpawnAnswer{1, std::uint64_t{1} << 40, -1, "no", "kvs", {0, -1}},
      NameAnswer{1, 2, 3, "port"},
      BarrierAnswer{1, 2, false, 3},
      QueryStatus{1},
      Inspect{1, 2, {3, 4}, 200, 5},
      Fence{1, std::uint64_t{1} << 40, "keys", false},
      Release{1, 2, "keys", false},
      Input{"bytes"},
      InputReaders{false},
      TaskPipes{1, 2, {3, 4}},
      RankProcesses{"n1", "a.out", {3, 4}, {5, 6}},
      Output{2, 4'000'000'000, "bytes", OpenLine::ended, "[1] "},
      Output{},
      CloseOutput{2, 3, 32},
      Credit{1, 2, 3},
      Ready{1, 4711, "host"},
      HostLost{1, true, "no sign for 5 s", true},
      GroupReady{1},
      GroupFailed{1, 98, "bind", "address"},
      Started{9, 1234},
      Started{9, 1234, {0, 4}, std::uint64_t{1} << 60},
      StartFailed{1, 2, "execve", "./nowhere"},
      Exited{5, true, 9, true, true, 1000, std::uint64_t{1} << 40, std::uint64_t{1} << 60},
      Exited{5, false, -1, false},
      OutputLost{28, "file"},
      Printed{},
      Events{1, {{3, 4, 5, true, true, true, std::uint64_t{1} << 40, 1, 2, "why", peer, 7}, {}}},
      EventsMissed{2, std::uint64_t{1} << 40},
      TraceLines{"line\n", 1, std::uint64_t{1} << 40},
      SpawnQuery{1, 2, 3, {{"a.out", {"x"}, 4, {{"wdir", "/"}}}, {}}, {{"k", "v"}}},
      NameQuery{1, 2, 3, 1, "service", "port"},
      BarrierQuery{1, 2, 3, "0-3"},
      StatusReply{1,
                  {{2, {0, 4}, 3, {1}, {{-5, {1}, {2, 3}}}, 4, 5, 6, 7}, {}},
                  {{1, std::uint64_t{1} << 40}, {2}, 3, 4, 5, {6, 7, 8}, 9, 10, 11}},
      InspectReply{1,
                   {{3, 4, 5, 6, "a.out", 'S', "read", "pipe:[1]", "pipe_read", std::uint64_t{1} << 40, 7, 8,
                     true, "#0 read", "not permitted"},
                    {}},
                   false},
      Done{},
      ClockQuery{std::uint64_t{1} << 60},
      ClockAnswer{std::uint64_t{1} << 60, 2},
  };
}

// The messages of most tests are for this host.
constexpr std::uint32_t kHost = 3;
std::string encode(const Message& message) { return wireup::wire::agent::encode(kHost, message); }

// For the host of the packet that the message was decoded from.
std::string encode_again(const std::string& packet, const Message& message) {
  return wireup::wire::agent::encode(read_header(packet)->host, message);
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

TEST_CASE("agent messages: the samples have every message") {
  std::set<std::size_t> kinds;
  for (const Message& message : samples()) kinds.insert(message.index());
  CHECK(kinds.size() == kMessageKinds);
}

TEST_CASE("agent messages: every field keeps its value") {
  const auto hello = std::get<Hello>(*decode(encode(samples().front())));
  CHECK(hello.version == 3);
  CHECK(hello.host == 7);
  CHECK(hello.name == "n7");
  CHECK(hello.out.mode == OutputMode::merge);
  CHECK(hello.err.mode == OutputMode::file);
  CHECK(hello.err.file == "err.%r");
  CHECK(hello.label == "[%r] ");
  CHECK(hello.spawned_label == "[%g:%r] ");
  CHECK(hello.stdin_readers == 64);
  CHECK(hello.stdin_hosts == std::vector<std::uint32_t>{1, 2});
  CHECK(hello.binding.sets == std::vector<std::vector<std::uint32_t>>{{0, 2}, {1}});
  CHECK(hello.inherited.nice == -5);
  CHECK(hello.inherited.limits.at(1).value == ~std::uint64_t{0});
  CHECK(hello.kvs_limit == std::uint64_t{1} << 40);
  CHECK(hello.trace.on);
  CHECK(hello.trace.start_ns == std::uint64_t{1} << 50);
  CHECK(hello.trace.ranks.at(1) == std::pair<std::uint32_t, std::uint32_t>{7, 7});
  const auto start = std::get<Start>(
      *decode(encode(Start{2, {{.rank = 4'000'000'000, .program = 7, .fds = {3, 4}, .reads_stdin = true}}})));
  REQUIRE(start.ranks.size() == 1);
  CHECK(start.group == 2);
  CHECK(start.ranks[0].rank == 4'000'000'000);
  CHECK(start.ranks[0].program == 7);
  CHECK(start.ranks[0].fds == std::vector<std::int32_t>{3, 4});
  CHECK(start.ranks[0].reads_stdin);
  CHECK_FALSE(start.ranks[0].silent);
  const auto exited = std::get<Exited>(*decode(encode(Exited{5, true, 9, true, true})));
  CHECK(exited.task == 5);
  CHECK(exited.signaled);
  CHECK(exited.value == 9);
  CHECK(exited.core_dumped);
  CHECK(exited.ended);
}

TEST_CASE("agent messages: the byte layout is fixed") {
  // The kind, the host, the fields.
  CHECK(encode(End{258}) == std::string("\13\3\0\0\0\2\1\0\0", 9));
  CHECK(encode(Started{2, 258, {}, 3}) ==
        std::string("\36\3\0\0\0\2\0\0\0\2\1\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 25));
  CHECK(encode(Done{}) == std::string("\52\3\0\0\0", 5));
}

TEST_CASE("agent messages: the header has the kind and the host") {
  for (const std::uint32_t host : {0U, 258U, kEveryHost}) {
    const auto header = read_header(wireup::wire::agent::encode(host, End{1}));
    REQUIRE(header.has_value());
    CHECK(header->kind == kind_of<End>());
    CHECK(header->host == host);
  }
  CHECK(kind_of<Hello>() == 0);
  CHECK(kind_of<Expected>() == kMessageKinds - 1);
  // Only the header is read.
  CHECK(read_header(encode(End{1}).substr(0, 5)).has_value());
  CHECK_FALSE(read_header(encode(End{1}).substr(0, 4)).has_value());
  CHECK_FALSE(read_header(std::string(5, static_cast<char>(kMessageKinds))).has_value());
  CHECK_FALSE(read_header("").has_value());
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
  constexpr auto kKinds = static_cast<char>(kMessageKinds);
  CHECK_FALSE(decode(std::string{kKinds, 0, 0, 0, 0}).has_value());
  CHECK_FALSE(decode(std::string("\xff\0\0\0\0", 5)).has_value());
  constexpr std::size_t kHeader = 5;
  // After the version, the host and the length of the name.
  std::string hello = encode(Hello{});
  REQUIRE(decode(hello).has_value());
  hello[kHeader + 12] = static_cast<char>(OutputMode::discard) + 1;
  CHECK_FALSE(decode(hello).has_value());
  // After the task.
  std::string exited = encode(Exited{});
  exited[kHeader + 4] = 2;
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
  CHECK_FALSE(decode(std::string("\1\0\0\0\0\xff\xff\xff\xff", 9)).has_value());
}

TEST_CASE("agent messages: random bytes are refused or encode to the same bytes") {
  std::mt19937 random(20240229);
  std::string packet;
  for (int round = 0; round < 200'000; ++round) {
    packet.resize(random() % 64);
    for (char& c : packet) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 12);
    if (const auto message = decode(packet)) CHECK(encode_again(packet, *message) == packet);
  }
}

TEST_CASE("agent messages: mutated messages are refused or encode to the same bytes") {
  std::mt19937 random(42);
  const auto messages = samples();
  for (int round = 0; round < 100'000; ++round) {
    std::string packet = encode(messages[random() % messages.size()]);
    for (int i = 0; i < 3; ++i) packet[random() % packet.size()] = static_cast<char>(random());
    if (const auto message = decode(packet)) CHECK(encode_again(packet, *message) == packet);
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

  for (const std::size_t limit : {std::size_t{141}, std::size_t{200}, std::size_t{1000}, whole.size()}) {
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
