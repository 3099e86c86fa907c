// The PMI servers of wireup-agent: ranks use them, and the launcher gets their events and queries.
#include <sys/resource.h>
#include <sys/un.h>

#include <filesystem>
#include <set>

#include "engine/effects.h"
#include "engine/process_group.h"
#include "os/support.h"
#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using engine::EventType;

// The shell can redirect only to descriptors below 10.
constexpr int kFd = 7;

msg::Group by_channel(std::uint32_t number, std::uint32_t size) {
  msg::Group group = Driver::group(number, size);
  group.channel_fd = kFd;
  return group;
}

// `ask` sends a PMI-1 request and prints the rank and the reply.
constexpr char kAsk[] = "ask() { echo \"cmd=$1\" >&7; read -r reply <&7; echo $PMI_RANK \"$reply\"; };";
constexpr char kInit[] = "ask 'init pmi_version=1 pmi_subversion=1';";

std::vector<EventType> types(const std::vector<msg::EventRecord>& events, std::int32_t rank) {
  std::vector<EventType> result;
  for (const msg::EventRecord& event : events) {
    if (event.rank == rank) result.push_back(static_cast<EventType>(event.type));
  }
  return result;
}

std::ptrdiff_t count(const std::vector<msg::EventRecord>& events, EventType type) {
  return std::ranges::count_if(
      events, [type](const msg::EventRecord& event) { return static_cast<EventType>(event.type) == type; });
}

TEST_CASE("ranks put, meet in a barrier and get, and events come in order before the exit of their rank") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  agent.add(by_channel(0, 2));
  agent.shell(std::string(kAsk) + kInit +
              "ask \"put kvsname=kvs0 key=k$PMI_RANK value=v$PMI_RANK\"; ask barrier_in;"
              "ask \"get kvsname=kvs0 key=k$((1 - PMI_RANK))\"; ask finalize");
  agent.send(msg::Start{0, {{.rank = 0}, {.rank = 1}}});
  agent.expect<msg::Started>();
  agent.expect<msg::Started>();
  for (int i = 0; i < 2; ++i) {
    const auto exited = agent.expect<msg::Exited>();
    const auto before = types(agent.events, static_cast<std::int32_t>(exited.task));
    REQUIRE(before.size() >= 2);
    CHECK(before[0] == EventType::initialized);
    CHECK(before[1] == EventType::finalized);
    CHECK(count(agent.events, EventType::barrier) == 1);
  }
  agent.finish();
  CHECK(types(agent.events, 0) ==
        std::vector{EventType::initialized, EventType::finalized, EventType::disconnected});
  auto lines = lines_of(read_all(out.first.get()));
  std::ranges::sort(lines);
  REQUIRE(lines.size() == 10);
  for (const std::string other : {"0", "1"}) {
    const std::string rank = other == "0" ? "1" : "0";
    CHECK(std::ranges::count(lines, rank + " cmd=get_result rc=0 msg=success value=v" + other) == 1);
    CHECK(std::ranges::count(lines, rank + " cmd=barrier_out") == 1);
  }
}

TEST_CASE("the abort of a rank is reported at once") {
  Driver agent;
  agent.greet();
  agent.add(by_channel(0, 1));
  agent.shell(std::string("exec >/dev/null;") + kAsk + kInit + "echo cmd=abort exitcode=5 >&7; read x <&7");
  agent.start(0);
  for (;;) {
    const auto events = agent.expect<msg::Events>();
    CHECK(events.group == 0);
    const auto& last = events.events.back();
    if (static_cast<EventType>(last.type) != EventType::aborted) continue;
    CHECK(last.exit_code == 5);
    break;
  }
  // The server waits for the launcher to end the rank.
  agent.send(msg::Signal{SIGKILL, {0}});
  agent.expect<msg::Exited>();
  agent.finish();
}

TEST_CASE("spawns and names are queries to the launcher, and its answers reach the rank") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  agent.add(by_channel(3, 1));
  agent.shell(std::string(kAsk) + kInit +
              "ask 'publish_name service=ocean port=here'; ask 'lookup_name service=sea';"
              "echo mcmd=spawn >&7; echo nprocs=2 >&7; echo execname=child >&7; echo arg1=x >&7;"
              "echo argcnt=1 >&7; echo preput_num=1 >&7; echo preput_key_0=k >&7;"
              "echo preput_val_0=v >&7; echo endcmd >&7; read -r reply <&7; echo \"$reply\"");
  agent.start(msg::StartRank{.rank = 0}, {}, 3);
  const auto publish = agent.expect<msg::NameQuery>();
  CHECK(publish.group == 3);
  CHECK(publish.rank == 0);
  CHECK(publish.operation == static_cast<std::uint8_t>(engine::NameOperation::publish));
  CHECK(publish.service == "ocean");
  CHECK(publish.port == "here");
  agent.send(msg::NameAnswer{.group = 3, .query = publish.query});
  const auto lookup = agent.expect<msg::NameQuery>();
  CHECK(lookup.query != publish.query);
  agent.send(msg::NameAnswer{.group = 3, .query = lookup.query, .port = "there"});
  const auto spawn = agent.expect<msg::SpawnQuery>();
  CHECK(spawn.group == 3);
  REQUIRE(spawn.commands.size() == 1);
  CHECK(spawn.commands[0].program == "child");
  CHECK(spawn.commands[0].ranks == 2);
  CHECK(spawn.commands[0].args == std::vector<std::string>{"x"});
  CHECK(spawn.preput == std::vector<std::pair<std::string, std::string>>{{"k", "v"}});
  // Answers to unknown queries and groups are ignored.
  agent.send(msg::SpawnAnswer{.group = 3, .query = 99});
  agent.send(msg::NameAnswer{.group = 9, .query = 1});
  agent.send(msg::SpawnAnswer{.group = 3, .query = spawn.query, .kvsname = "kvs9", .errcodes = {0, 0}});
  agent.expect<msg::Exited>();
  agent.finish();
  const std::string text = read_all(out.first.get());
  CHECK(text.find("cmd=lookup_result rc=0 info=ok port=there") != std::string::npos);
  CHECK(text.find("cmd=spawn_result rc=0") != std::string::npos);
}

TEST_CASE("a status is that of the moment before the messages that follow its query") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  agent.add(by_channel(0, 3));
  agent.add(by_channel(1, 1));
  agent.shell(std::string(kAsk) + kInit + "echo cmd=barrier_in >&7; read x <&7");
  agent.start(1);
  // The reply to init comes before the shell sends barrier_in, so the state is polled.
  CHECK(read_line(out.first.get()).find("response_to_init") != std::string::npos);
  std::uint32_t id = 0;
  msg::StatusReply reply;
  CHECK(eventually([&] {
    agent.send(msg::QueryStatus{++id});
    reply = agent.expect<msg::StatusReply>();
    return !reply.groups.at(0).inside.empty();
  }));
  agent.send(msg::QueryStatus{77});
  agent.end();
  reply = agent.expect<msg::StatusReply>();
  CHECK(reply.id == 77);
  REQUIRE(reply.groups.size() == 2);
  CHECK(reply.groups[0].group == 0);
  const auto absent = static_cast<std::uint8_t>(engine::RankState::absent);
  CHECK(reply.groups[0].ranks ==
        std::vector<std::uint8_t>{absent, static_cast<std::uint8_t>(engine::RankState::initialized), absent});
  CHECK(reply.groups[0].inside == std::vector<std::uint32_t>{1});
  CHECK(reply.groups[1].group == 1);
  CHECK(reply.groups[1].ranks == std::vector<std::uint8_t>{absent});
  CHECK(agent.expect<msg::Exited>().ended);
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
}

TEST_CASE("a barrier that waits for a rank that has left is reported as stuck") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  agent.add(by_channel(0, 2));
  agent.shell(std::string(kAsk) + kInit + "echo cmd=barrier_in >&7; read x <&7");
  agent.start(0);
  CHECK(read_line(out.first.get()).find("response_to_init") != std::string::npos);
  agent.send(msg::Depart{0, {1}});
  agent.send(msg::Depart{5, {1}});  // a group without ranks here
  CHECK(eventually([&] {
    agent.send(msg::QueryStatus{});
    agent.expect<msg::StatusReply>();
    return count(agent.events, EventType::stuck) == 1;
  }));
  agent.end();
  agent.expect<msg::Exited>();
  agent.expect<msg::Done>();
}

TEST_CASE("a process that runs already can be adopted as rank 0") {
  Driver agent;
  agent.greet();
  agent.add(Driver::group(0, 1));
  os::FdPair connection = os::stream_pair();
  os::set_nonblocking(connection.first.get(), false);
  agent.send(msg::AdoptRank{.group = 0, .pid = ::getpid()}, {connection.second.get()});
  connection.second.reset();
  write_all(connection.first.get(), "cmd=init pmi_version=1 pmi_subversion=1\n");
  CHECK(read_line(connection.first.get()).starts_with("cmd=response_to_init"));
  connection.first.reset();
  while (count(agent.events, EventType::disconnected) == 0) {
    const auto more = agent.expect<msg::Events>();
    agent.events.insert(agent.events.end(), more.events.begin(), more.events.end());
  }
  agent.finish();
}

TEST_CASE("ranks that wait to be started are not started when the job ends") {
  Driver agent;
  agent.greet();
  agent.add(Driver::group(0, 256));
  agent.program({"sleep", "1000"});
  msg::Start start;
  for (std::uint32_t rank = 0; rank < 256; ++rank) start.ranks.push_back({.rank = rank});
  agent.send(start);
  agent.end();
  std::size_t started = 0;
  std::size_t exited = 0;
  std::set<std::uint32_t> answered;
  for (bool done = false; !done;) {
    const auto message = agent.receive();
    REQUIRE(message.has_value());
    if (const auto* one = std::get_if<msg::Started>(&*message)) {
      ++started;
      answered.insert(one->task);
    } else if (const auto* failed = std::get_if<msg::StartFailed>(&*message)) {
      CHECK(failed->error == ECANCELED);
      answered.insert(failed->task);
    } else if (std::holds_alternative<msg::Exited>(*message)) {
      ++exited;
    }
    done = std::holds_alternative<msg::Done>(*message);
  }
  CHECK(answered.size() == 256);
  CHECK(started < 256);
  CHECK(exited == started);
  CHECK(agent.wait().value == 0);
}

TEST_CASE("while the launcher reads nothing, events that ranks can repeat are dropped and counted") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  agent.add(by_channel(0, 1));
  constexpr int kBarriers = 60'000;
  agent.shell(std::string("exec 3>&1 >/dev/null;") + kAsk + kInit + "yes cmd=barrier_in | head -n " +
              std::to_string(kBarriers) + " >&7 & head -n " + std::to_string(kBarriers) +
              " <&7 >/dev/null; wait; echo done >&3; exit 3");
  agent.start(0);
  CHECK(read_line(out.first.get()) == "done");
  std::uint64_t missed = 0;
  std::vector<std::uint64_t> numbers;
  for (bool exited = false; !exited || missed + numbers.size() < kBarriers;) {
    const auto message = agent.receive();
    REQUIRE(message.has_value());
    if (const auto* events = std::get_if<msg::Events>(&*message)) {
      for (const msg::EventRecord& event : events->events) {
        if (static_cast<EventType>(event.type) == EventType::barrier) numbers.push_back(event.barrier);
      }
    } else if (const auto* dropped = std::get_if<msg::EventsMissed>(&*message)) {
      CHECK(static_cast<EventType>(dropped->type) == EventType::barrier);
      missed += dropped->count;
    } else {
      REQUIRE(std::holds_alternative<msg::Exited>(*message));
      CHECK(std::get<msg::Exited>(*message).value == 3);
      exited = true;
    }
  }
  CHECK(std::ranges::is_sorted(numbers));
  CHECK(missed > 0);
  CHECK(missed + numbers.size() == kBarriers);
  agent.finish();
}

// Groups whose ranks connect to a listener.

msg::Group by_port(std::uint32_t number, std::uint32_t size, const std::string& private_parent) {
  msg::Group group = Driver::group(number, size);
  group.pmi = msg::PmiMode::port;
  if (private_parent.empty()) {
    group.address = "tcp://127.0.0.1:0";
  } else {
    group.private_parents = {{"", private_parent}};
  }
  return group;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

TEST_CASE("ranks of several groups get addresses in one private folder, which the agent removes at its end") {
  const os::test::TemporaryFolder parent;
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  for (const std::uint32_t group : {0, 1}) agent.add(by_port(group, 2, parent.path()));
  agent.shell("echo $PMI_RANK $PMI_SIZE $MPI_LOCALRANKID $PMI_PORT $PMI_ID; exec sleep 1000");
  std::set<std::string> ids;
  std::vector<std::string> folders;
  for (const std::uint32_t group : {0, 1}) {
    for (const std::uint32_t rank : {0, 1}) {
      agent.start(msg::StartRank{.rank = rank}, {}, group);
      std::istringstream words(read_line(out.first.get()));
      std::string own, size, local, port, id;
      words >> own >> size >> local >> port >> id;
      CHECK(own == std::to_string(rank));
      CHECK(size == "2");
      CHECK(local == own);
      ids.insert(id);
      CHECK(std::stoull(id) < std::uint64_t{1} << 31);
      const std::filesystem::path path = port.substr(std::string("unix://").size());
      CHECK(path.filename() == "pmi-" + std::to_string(group));
      folders.push_back(path.parent_path());

      const os::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
      path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
      REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
      write_all(socket.get(), "cmd=initack pmiid=" + id + "\n");
      CHECK(read_line(socket.get()).starts_with("cmd=initack"));
      read_line(socket.get());
      CHECK(read_line(socket.get()) == "cmd=set rank=" + std::to_string(rank));
    }
  }
  CHECK(ids.size() == 4);
  CHECK(std::set(folders.begin(), folders.end()).size() == 1);
  agent.send(msg::ForgetGroup{0});
  CHECK(eventually([&] { return names_in(folders[0]) == std::vector<std::string>{"pmi-1"}; }));
  agent.send(msg::Signal{SIGKILL, {}});
  for (int i = 0; i < 4; ++i) agent.expect<msg::Exited>();
  agent.finish();
  CHECK(names_in(parent.path()).empty());
}

TEST_CASE("if the agent is killed, or its launcher, its private folder is removed") {
  for (const bool hang_up : {false, true}) {
    CAPTURE(hang_up);
    const os::test::TemporaryFolder parent;
    Driver agent;
    agent.greet();
    for (const std::uint32_t group : {0, 1, 2}) agent.add(by_port(group, 1, parent.path()));
    CHECK(names_in(parent.path()).size() == 1);
    if (hang_up) {
      agent.hang_up();
      CHECK(agent.wait().value == 1);
    } else {
      ::kill(agent.agent_pid(), SIGKILL);
      CHECK(agent.wait().value == SIGKILL);
    }
    CHECK(names_in(parent.path()).empty());
  }
}

TEST_CASE("nothing is left of groups that are forgotten") {
  const os::test::TemporaryFolder parent;
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet({.kvs_limit = 1 << 20});
  agent.add(by_port(0, 1, parent.path()));
  agent.program({"true"});
  std::size_t fds = 0;
  for (std::uint32_t number = 1; number <= 300; ++number) {
    msg::Group group = number % 3 == 0   ? by_port(number, 8, parent.path())
                       : number % 3 == 1 ? by_port(number, 8, "")
                                         : by_channel(number, 8);
    // Together more than the limit of keys and values.
    for (int i = 0; i < 8; ++i) group.preput.emplace_back("key" + std::to_string(i), std::string(1000, 'v'));
    agent.add(group);
    agent.start(msg::StartRank{.rank = 3}, {}, number);
    agent.expect<msg::Exited>();
    agent.send(msg::ForgetGroup{number});
    agent.send(msg::QueryStatus{number});
    CHECK(agent.expect<msg::StatusReply>().groups.size() == 1);
    const std::size_t now = os::test::fds_of(agent.agent_pid()).size();
    if (number == 3) fds = now;
    if (number > 3) CHECK(now == fds);
  }
  CHECK(names_in(parent.path() + "/" + names_in(parent.path()).at(0)) == std::vector<std::string>{"pmi-0"});
  agent.finish();
}

TEST_CASE("a status counts the messages of process groups that were forgotten") {
  Driver agent;
  agent.greet();
  agent.add(by_channel(0, 1));
  agent.add(by_channel(1, 1));
  agent.shell(std::string(kAsk) + kInit);
  const auto counters = [&](std::uint32_t id) {
    agent.send(msg::QueryStatus{id});
    const auto reply = agent.expect<msg::StatusReply>();
    CHECK(reply.counters.kvs_bytes > 0);
    CHECK(reply.counters.turns > 0);
    return std::pair(reply.counters.requests.at(static_cast<std::size_t>(wire::MessageId::init)),
                     reply.counters.received);
  };
  CHECK(counters(1) == std::pair<std::uint64_t, std::uint64_t>{0, 0});
  agent.start(msg::StartRank{.rank = 0}, {}, 1);
  agent.expect<msg::Exited>();
  const auto before = counters(2);
  CHECK(before.first == 1);
  CHECK(before.second > 0);
  agent.send(msg::ForgetGroup{1});
  CHECK(counters(3) == before);
  agent.finish();
}

TEST_CASE("a group that cannot be made is reported with the reason") {
  Driver agent;
  agent.greet({.kvs_limit = 1000});
  const auto failure = [&](const msg::Group& group) {
    agent.send(group);
    const auto failed = agent.expect<msg::GroupFailed>();
    CHECK(failed.group == group.number);
    return failed;
  };
  msg::Group group = Driver::group(1);
  group.layout.clear();
  CHECK(failure(group).subject == "ranks: expected at least 1");
  group.layout = {{1, 1, 0}};
  CHECK(failure(group).subject == "nodes: expected numbers from 0 without gaps");
  group.layout = {{1, 0, 0}, {1, 1, 0}};
  CHECK(failure(group).subject == "nodes: expected one for each number in the layout, got fewer");
  group.layout = {{0xffffffff, 0, 0}};
  CHECK(failure(group).subject == "ranks: too many");

  group = by_port(1, 1, "");
  group.address = "tcp://192.0.2.1:0";
  const auto unbound = failure(group);
  CHECK(unbound.error == EADDRNOTAVAIL);
  CHECK(unbound.syscall == "bind");

  // With labels each rank takes a connection, a pidfd and two pipes.
  rlimit before{};
  REQUIRE(::prlimit(agent.agent_pid(), RLIMIT_NOFILE, nullptr, &before) == 0);
  const rlimit low{400, 400};
  REQUIRE(::prlimit(agent.agent_pid(), RLIMIT_NOFILE, &low, nullptr) == 0);
  const auto many = failure(Driver::group(1, 200));
  CHECK(many.error == EMFILE);
  CHECK(many.subject.starts_with("200 ranks need "));
  agent.add(Driver::group(1, 50));

  group = Driver::group(2, 1);
  group.preput = {{"k", std::string(1000, 'v')}};
  agent.add(group);
  const auto full = failure(Driver::group(3));
  CHECK(full.syscall.empty());
  CHECK(full.subject == "the keys and values of the job have reached their limit");
  agent.send(msg::ForgetGroup{2});
  agent.add(Driver::group(4, 1));
  agent.finish();
}

TEST_CASE("a group without ranks on this host is ready, and has no server here") {
  Driver agent;
  agent.greet();
  msg::Group group = Driver::group(1, 4);
  group.nodes = {{.host = 5}};
  agent.add(group);
  agent.send(msg::QueryStatus{});
  CHECK(agent.expect<msg::StatusReply>().groups.empty());
  agent.send(msg::ForgetGroup{1});
  agent.finish();
}

}  // namespace
