// Agents of several hosts, as a tree below the agent that the test drives. All of them are on this host.
#include <filesystem>
#include <fstream>
#include <map>

#include "engine/effects.h"
#include "os/support.h"
#include "tools/agent/agent_driver.h"
#include "wire/link_framer.h"

namespace {

using namespace wireup;
using namespace wireup::test;

constexpr int kTreeFd = 7;  // PMI_FD; the shell can redirect only to fds below 10

msg::StartHost host_by(std::uint32_t host, std::vector<std::string> command) {
  return {.host = host,
          .name = "host" + std::to_string(host),
          .command = std::move(command),
          .environment = {"PATH=/usr/bin:/bin"},
          .timeout_ms = kTimeoutMs,
          .same_host = true};
}
msg::StartHost real_host(std::uint32_t host) { return host_by(host, {WIREUP_AGENT, "link", "same-host"}); }

// The agents of hosts 0, 1 and 2. Host 1 is a child of host 0, and host 2 of host 1.
struct Chain {
  explicit Chain(int out) : agent({.out = out}) {
    agent.any_host = true;
    agent.greet();
    pids[0] = agent.agent_pid();
    for (std::uint32_t host = 1; host < kHosts; ++host) {
      agent.send_to(host - 1, real_host(host));
      pids[host] = agent.expect<msg::Ready>().pid;
      agent.send_to(host, msg::Hello{.host = host, .kvs_limit = 1 << 20});
    }
  }
  // One rank on each host.
  void start(const std::string& script) {
    msg::Group group = Driver::group(0, kHosts);
    group.layout = {{1, 0, 0}, {1, 1, 0}, {1, 2, 0}};
    group.nodes = {{.host = 0}, {.host = 1}, {.host = 2}};
    group.channel_fd = kTreeFd;
    agent.send_to(msg::kEveryHost, group);
    for (std::uint32_t host = 0; host < kHosts; ++host) agent.expect<msg::GroupReady>();
    agent.send_to(msg::kEveryHost,
                  msg::Program{.args = {"sh", "-c", script}, .environment = {"PATH=/usr/bin:/bin"}});
    for (std::uint32_t host = 0; host < kHosts; ++host) agent.send_to(host, msg::Start{0, {{.rank = host}}});
    for (std::uint32_t host = 0; host < kHosts; ++host) agent.expect<msg::Started>();
  }

  static constexpr std::uint32_t kHosts = 3;
  Driver agent;
  std::map<std::uint32_t, pid_t> pids;
};

TEST_CASE("ranks of three hosts in a chain put, meet in a barrier and get") {
  os::FdPair out = os::make_pipe();
  Chain chain(out.second.get());
  out.second.reset();
  chain.start(
      "ask() { echo \"cmd=$1\" >&7; read -r reply <&7; }; ask 'init pmi_version=1 pmi_subversion=1';"
      "for n in 1 2; do ask \"put kvsname=kvs0 key=k$PMI_RANK.$n value=v$PMI_RANK.$n\"; ask barrier_in;"
      "for r in 0 1 2; do ask \"get kvsname=kvs0 key=k$r.$n\"; echo $PMI_RANK \"$reply\"; done; done;"
      "ask barrier_in; ask finalize");
  for (std::uint32_t rank = 0; rank < Chain::kHosts; ++rank) {
    const auto exited = chain.agent.expect<msg::Exited>();
    CHECK_FALSE(exited.signaled);
    CHECK(exited.value == 0);
  }
  chain.agent.finish();
  const auto lines = lines_of(read_all(out.first.get()));
  CHECK(lines.size() == 18);
  for (const std::string rank : {"0", "1", "2"}) {
    for (const std::string key : {"0.1", "1.1", "2.1", "0.2", "1.2", "2.2"})
      CHECK(std::ranges::count(lines, rank + " cmd=get_result rc=0 msg=success value=v" + key) == 1);
  }
  // One host reports each barrier, before what any rank does after it.
  std::vector<std::uint64_t> barriers;
  std::size_t finalized = 0;
  for (const msg::EventRecord& event : chain.agent.events) {
    const auto type = static_cast<engine::EventType>(event.type);
    if (type == engine::EventType::finalized) ++finalized;
    if (type != engine::EventType::barrier) continue;
    CHECK(finalized == 0);
    barriers.push_back(event.barrier);
  }
  CHECK(barriers == std::vector<std::uint64_t>{0, 1, 2});
  CHECK(finalized == Chain::kHosts);
}

TEST_CASE("a host that is lost is reported with every host below it, and their ranks end") {
  for (const std::uint32_t lost : {1U, 2U}) {
    CAPTURE(lost);
    Chain chain(STDOUT_FILENO);
    chain.start("exec sleep 1000");
    ::kill(chain.pids[lost], SIGKILL);
    std::vector<std::uint32_t> hosts;
    for (std::uint32_t host = lost; host < Chain::kHosts; ++host) {
      const auto report = chain.agent.expect<msg::HostLost>();
      CHECK(report.was_ready);
      CHECK_FALSE(report.message.empty());
      hosts.push_back(report.host);
    }
    std::ranges::sort(hosts);
    CHECK(hosts == (lost == 1 ? std::vector<std::uint32_t>{1, 2} : std::vector<std::uint32_t>{2}));
    for (std::uint32_t host = lost; host < Chain::kHosts; ++host) CHECK(ends(chain.pids[host]));
    chain.agent.send_to(msg::kEveryHost, msg::End{0});
    for (std::uint32_t rank = 0; rank < lost; ++rank) chain.agent.expect<msg::Exited>();
    chain.agent.expect_done();
  }
}

TEST_CASE("the launcher's end leaves no agent of the tree") {
  Chain chain(STDOUT_FILENO);
  chain.start("exec sleep 1000");
  chain.agent.hang_up();
  chain.agent.wait();
  for (const auto& [host, pid] : chain.pids) CHECK(ends(pid));
}

TEST_CASE("a host that has not answered does not delay the end of the job") {
  Driver agent;
  agent.greet();
  agent.send(host_by(1, {"sleep", "1000"}));
  agent.finish();
}

// Shell code of an agent that answers, and sends these packets.
std::string fake_agent(const std::string& file, const std::vector<std::string>& packets) {
  std::ofstream out(file, std::ios::binary);
  for (const std::string& packet : packets) out << wire::encode_frame(std::string(packet));
  out.close();
  return "printf '\\nwireup-agent " + std::to_string(msg::kProtocolVersion) + " x\\n'; read -r reply; cat " +
         file + "; exec sleep 1000";
}
std::string ready_packet() { return msg::encode(msg::kEveryHost, msg::Ready{.pid = 1, .host = "fake"}); }

TEST_CASE("a host that the launcher drops is lost, wherever it is in the tree") {
  for (const std::uint32_t dropped : {1U, 2U}) {
    CAPTURE(dropped);
    Chain chain(STDOUT_FILENO);
    chain.start("exec sleep 1000");
    chain.agent.send_to(dropped, msg::DropHost{"not trusted"});
    for (std::uint32_t host = dropped; host < Chain::kHosts; ++host) {
      const auto lost = chain.agent.expect<msg::HostLost>();
      CHECK(lost.host == host);
      CHECK(lost.was_ready);
      CHECK(lost.message == "not trusted");
    }
    for (std::uint32_t host = dropped; host < Chain::kHosts; ++host) CHECK(ends(chain.pids[host]));
    // The launcher may not know yet.
    chain.agent.send_to(dropped, msg::DropHost{"again"});
    chain.agent.send_to(msg::kEveryHost, msg::End{0});
    for (std::uint32_t rank = 0; rank < dropped; ++rank) chain.agent.expect<msg::Exited>();
    chain.agent.expect_done();
  }
}

TEST_CASE("a host that does not end with the job is lost") {
  os::test::TemporaryFolder folder;
  Driver agent;
  agent.any_host = true;
  agent.greet();
  agent.send(host_by(1, {"sh", "-c", fake_agent(folder / "packets", {ready_packet()})}));
  agent.expect<msg::Ready>();
  agent.send_to(msg::kEveryHost, msg::End{0});
  const auto lost = agent.expect<msg::HostLost>();
  CHECK(lost.host == 1);
  CHECK(lost.was_ready);
  CHECK(lost.message == "it did not end within 10 s after its ranks had to");
  agent.expect_done();
}

TEST_CASE("the output of ranks beside other hosts is written whole if its reader is slow") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.any_host = true;
  agent.hello(Driver::labelled());
  agent.send(real_host(1));
  const pid_t other = agent.expect<msg::Ready>().pid;
  agent.send_to(1, msg::Hello{.host = 1, .kvs_limit = 1 << 20});
  // It fits into the pipes.
  constexpr std::size_t kSize = 100'000;
  agent.shell("yes xxxxxxx | head -c " + std::to_string(kSize));
  agent.start(0);
  agent.expect<msg::Exited>();
  agent.send_to(msg::kEveryHost, msg::End{0});
  CHECK(ends(other));
  const std::string text = read_all(out.first.get());
  CHECK(std::ranges::count(text, 'x') == kSize / 8 * 7);
  agent.expect_done();
}

TEST_CASE("the time for the start of a host ends when its agent is ready") {
  const std::string greeting =
      "printf '\\nwireup-agent " + std::to_string(msg::kProtocolVersion) + " x\\n'; ";
  const std::string rows[] = {"", greeting};
  for (const std::string& answer : rows) {
    CAPTURE(answer);
    Driver agent;
    agent.any_host = true;
    agent.greet();
    msg::StartHost start = host_by(1, {"sh", "-c", answer + "exec sleep 1000"});
    start.timeout_ms = 300;
    agent.send(start);
    const auto lost = agent.expect<msg::HostLost>();
    CHECK(lost.host == 1);
    CHECK_FALSE(lost.was_ready);
    CHECK(lost.late);
    CHECK(lost.message == "no answer within 300 ms");
    agent.finish();
  }
}

std::size_t size_of(const std::string& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : static_cast<std::size_t>(size);
}

TEST_CASE("a limited number of commands that have not reached their hosts run at a time") {
  os::test::TemporaryFolder folder;
  const std::string file = folder / "starts";
  constexpr std::uint32_t limit = 64;  // as in router.h
  Driver agent;
  agent.any_host = true;
  agent.greet();
  // Each command writes one byte. The last one of the first commands has an agent behind it.
  const std::string write = "printf x >> " + file + "; ";
  for (std::uint32_t host = 1; host <= limit + 2; ++host) {
    const std::string then = host == limit ? "exec " WIREUP_AGENT " link same-host" : "exec sleep 1000";
    agent.send(host_by(host, {"sh", "-c", write + then}));
  }
  // Packets for a host that waits are kept.
  agent.send_to(limit + 2, msg::Hello{.host = limit + 2});
  agent.expect<msg::Ready>();
  const auto has_started = [&](std::size_t count) {
    for (int waited = 0; size_of(file) < count && waited < kTimeoutMs; waited += 10) ::poll(nullptr, 0, 10);
    return size_of(file) == count;
  };
  CHECK(has_started(limit + 1));
  agent.send_to(1, msg::DropHost{"not wanted"});
  CHECK(agent.expect<msg::HostLost>().host == 1);
  CHECK(has_started(limit + 2));
  agent.send_to(msg::kEveryHost, msg::End{0});
  agent.expect_done();
}

TEST_CASE("a child that sends anything invalid is lost") {
  os::test::TemporaryFolder folder;
  const std::string ready = ready_packet();
  const struct {
    std::vector<std::string> packets;
    std::string fault;
    bool ready;
  } rows[] = {
      {{"garbage"}, "cannot be read", false},
      {{msg::encode(1, msg::Done{})}, "came before ready", false},
      {{msg::encode(1, msg::Hello{})}, "is not for a parent", false},
      {{ready, ready}, "is a second ready", true},
      {{ready, msg::encode(2, msg::Printed{})}, "is from an unknown host", true},
      {{ready, msg::encode(0, msg::Printed{})}, "is from an unknown host", true},
      {{ready, msg::encode(1, msg::HostLost{.host = 1})}, "loses an unknown host", true},
      {{ready, msg::encode(1, msg::HostLost{.host = 0})}, "loses an unknown host", true},
      {{ready, msg::encode(1, msg::Fence{})}, "is a fence of an unknown process group", true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.fault);
    Driver agent;
    agent.any_host = true;
    agent.greet();
    agent.send(host_by(1, {"sh", "-c", fake_agent(folder / "packets", row.packets)}));
    if (row.ready) CHECK(agent.expect<msg::Ready>().host == "fake");
    const auto lost = agent.expect<msg::HostLost>();
    CHECK(lost.host == 1);
    CHECK(lost.was_ready == row.ready);
    CHECK(lost.message == "the agent's message " + row.fault);
    agent.finish();
  }
}

// Bytes that the process has read.
std::uint64_t bytes_read(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/io");
  std::string name;
  std::uint64_t value = 0;
  file >> name >> value;
  REQUIRE(name == "rchar:");
  return value;
}

TEST_CASE("nothing is read from a child while the launcher is slow") {
  constexpr std::uint32_t kMessages = 40'000;
  os::test::TemporaryFolder folder;
  std::vector<std::string> packets(kMessages + 1, msg::encode(1, msg::OutputLost{5, std::string(1000, 'x')}));
  packets[0] = ready_packet();
  const std::string script = fake_agent(folder / "packets", packets);
  Driver agent;
  agent.any_host = true;
  agent.greet();
  const std::uint64_t before = bytes_read(agent.agent_pid());
  agent.send(host_by(1, {"sh", "-c", script}));
  agent.expect<msg::Ready>();
  // Until it reads no more.
  std::uint64_t read = 0;
  for (int still = 0; still < 25;) {
    const std::uint64_t now = bytes_read(agent.agent_pid()) - before;
    still = now == read && now > 1 << 20 ? still + 1 : 0;
    read = now;
    ::poll(nullptr, 0, 10);
  }
  CHECK(read < 8 << 20);
  for (std::uint32_t i = 0; i < kMessages; ++i) agent.expect<msg::OutputLost>();
  agent.hang_up();
  agent.wait();
}

}  // namespace
