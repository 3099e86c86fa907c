// Agents that one command starts, and that are linked over ZeroMQ. The command is test/support/srun.sh, so
// all of them are on this host.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "os/listener.h"
#include "os/socket_address.h"
#include "os/support.h"
#include "runtime/link_version.h"
#include "runtime/zmq_hub.h"
#include "runtime/zmq_joins.h"
#include "tools/agent/agent_driver.h"
#include "wire/boot_record.h"
#include "wire/link_framer.h"

namespace {

using namespace wireup;
using namespace wireup::test;

constexpr int kJoinFd = 7;  // PMI_FD; the shell can redirect only to fds below 10

std::string name_of(std::uint32_t host) { return "n" + std::to_string(host); }

// The agents of the launcher's host and of `count` others.
struct Joined {
  Joined(std::uint32_t count, std::uint32_t width, Driver::Stdio stdio = {}) : hosts(count), agent(stdio) {
    agent.any_host = true;
    agent.greet();
    start.width = width;
    start.iface = "127.0.0.1";
    start.command = {WIREUP_SRUN, "-w", "", WIREUP_AGENT, "join"};
    start.environment = {"PATH=/usr/bin:/bin"};
    for (std::uint32_t host = 1; host <= hosts; ++host) {
      start.hosts.push_back(host);
      start.names.push_back(name_of(host));
      start.command[2] += (host == 1 ? "" : ",") + name_of(host);
    }
  }
  std::uint32_t parent_of(std::uint32_t host) const { return (host - 1) / start.width; }
  // What the launcher sends.
  void ask(std::uint32_t timeout_ms = kTimeoutMs) {
    for (std::uint32_t host = 1; host <= hosts; ++host) {
      agent.send_to(
          parent_of(host),
          msg::StartHost{.host = host, .name = name_of(host), .timeout_ms = timeout_ms, .joins = true});
      agent.send_to(host, msg::Hello{.host = host, .kvs_limit = 1 << 20});
    }
    agent.send(start);
  }
  void join() {
    ask();
    for (std::uint32_t host = 1; host <= hosts; ++host) pids.insert(agent.expect<msg::Ready>().pid);
    CHECK(pids.size() == hosts);
  }
  // One rank on each host.
  void run(const std::string& script) {
    msg::Group group = Driver::group(0, hosts + 1);
    group.layout.clear();
    group.nodes.clear();
    for (std::uint32_t host = 0; host <= hosts; ++host) {
      group.layout.push_back({1, host, 0});
      group.nodes.push_back({.host = host});
    }
    group.channel_fd = kJoinFd;
    agent.send_to(msg::kEveryHost, group);
    for (std::uint32_t host = 0; host <= hosts; ++host) agent.expect<msg::GroupReady>();
    agent.send_to(msg::kEveryHost,
                  msg::Program{.args = {"sh", "-c", script}, .environment = {"PATH=/usr/bin:/bin"}});
    for (std::uint32_t host = 0; host <= hosts; ++host) agent.send_to(host, msg::Start{0, {{.rank = host}}});
    for (std::uint32_t host = 0; host <= hosts; ++host) agent.expect<msg::Started>();
  }
  std::map<std::uint32_t, msg::HostLost> losses(std::size_t count) {
    std::map<std::uint32_t, msg::HostLost> result;
    while (result.size() < count) {
      auto lost = agent.expect<msg::HostLost>();
      CHECK(result.emplace(lost.host, lost).second);
    }
    return result;
  }

  std::uint32_t hosts;
  Driver agent;
  msg::StartTogether start;
  std::set<pid_t> pids;
};

TEST_CASE("joined hosts: ranks put, meet in a barrier and get, in trees of each shape") {
  std::uint32_t width = 32;
  bool insecure = false;
  SUBCASE("flat") {}
  SUBCASE("a tree") { width = 2; }
  SUBCASE("a chain") { width = 1; }
  SUBCASE("insecure links") {
    width = 2;
    insecure = true;
  }
  os::FdPair out = os::make_pipe();
  Joined tree(4, width, {.out = out.second.get()});
  out.second.reset();
  tree.start.insecure = insecure;
  tree.join();
  tree.run(
      "ask() { echo \"cmd=$1\" >&7; read -r reply <&7; }; ask 'init pmi_version=1 pmi_subversion=1';"
      "for n in 1 2; do ask \"put kvsname=kvs0 key=k$PMI_RANK.$n value=v$PMI_RANK.$n\"; ask barrier_in;"
      "for r in 0 1 2 3 4; do ask \"get kvsname=kvs0 key=k$r.$n\"; echo $PMI_RANK \"$reply\"; done; done;"
      "ask barrier_in; ask finalize");
  for (std::uint32_t rank = 0; rank <= 4; ++rank) CHECK(tree.agent.expect<msg::Exited>().value == 0);
  tree.agent.finish();
  const auto lines = lines_of(read_all(out.first.get()));
  CHECK(lines.size() == 50);
  for (const std::string& line : lines) CHECK(line.find("cmd=get_result rc=0 msg=success value=v") == 2);
}

TEST_CASE("joined hosts: an agent that is killed is lost with each host below it, and all ranks end") {
  Joined tree(4, 1);
  tree.join();
  tree.run("exec sleep 1000");
  // The environment of each agent has its name.
  pid_t second = 0;
  for (const pid_t pid : tree.pids) {
    std::ifstream environment("/proc/" + std::to_string(pid) + "/environ");
    const std::string text(std::istreambuf_iterator<char>(environment), {});
    if (text.find("SLURMD_NODENAME=n2") != std::string::npos) second = pid;
  }
  REQUIRE(second != 0);
  ::kill(second, SIGKILL);
  const auto losses = tree.losses(3);
  CHECK_FALSE(losses.contains(1));
  for (const auto& [host, lost] : losses) CHECK(lost.was_ready);
  CHECK(losses.at(2).message == "the connection was lost");
  tree.agent.send_to(msg::kEveryHost, msg::End{0});
  for (std::uint32_t rank = 0; rank < 2; ++rank) tree.agent.expect<msg::Exited>();
  tree.agent.expect_done();
  for (const pid_t pid : tree.pids) CHECK(ends(pid));
}

TEST_CASE("joined hosts: the launcher's end leaves no agent") {
  Joined tree(3, 1);
  tree.join();
  tree.run("exec sleep 1000");
  tree.agent.hang_up();
  tree.agent.wait();
  for (const pid_t pid : tree.pids) CHECK(ends(pid));
}

TEST_CASE("joined hosts: no key is in an argument or an environment") {
  Joined tree(2, 1);
  tree.join();
  // Z85 keys have 40 characters of these.
  for (const pid_t pid : tree.pids) {
    for (const char* file : {"cmdline", "environ"}) {
      std::ifstream in("/proc/" + std::to_string(pid) + "/" + file);
      const std::string text(std::istreambuf_iterator<char>(in), {});
      REQUIRE_FALSE(text.empty());
      CHECK(text.find("tcp://") == std::string::npos);
      CHECK(text.size() < 1000);
    }
  }
  tree.agent.finish();
}

TEST_CASE("joined hosts: a host whose agent cannot be executed is lost with the words of the command") {
  Joined tree(3, 1);
  tree.start.environment.push_back("FAKE_SRUN_MISSING=n2");
  tree.ask();
  CHECK(tree.agent.expect<msg::Ready>().pid > 0);
  const auto losses = tree.losses(2);
  CHECK_FALSE(losses.at(2).was_ready);
  CHECK(losses.at(2).message.find("srun: error: n2: task 1: Exited with exit code 127") != std::string::npos);
  tree.agent.finish();
}

TEST_CASE("joined hosts: a node that fails before its agent has joined is lost with the words of srun") {
  Joined tree(2, 32);
  tree.start.command = {"/bin/sh", "-c", "echo 'srun: error: Node failure on n2' >&2; exec sleep 1000"};
  tree.ask();
  CHECK(tree.losses(1).at(2).message == "srun: error: Node failure on n2");
  tree.agent.finish();
}

TEST_CASE("joined hosts: a node that fails is lost with the words of srun, before Slurm ends the others") {
  Joined tree(3, 1);
  const std::string gate = std::filesystem::temp_directory_path() / ("gate-" + std::to_string(::getpid()));
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  const std::vector<std::string> srun = std::move(tree.start.command);
  tree.start.command = {
      "/bin/sh", "-c",
      R"(gate=$1; shift; exec 3<&0; "$@" <&3 & read -r line <"$gate"; echo "$line" >&2; wait)", "sh", gate};
  tree.start.command.insert(tree.start.command.end(), srun.begin(), srun.end());
  tree.join();
  tree.run("exec sleep 1000");
  std::ofstream(gate) << "srun: error: Node failure on n2\n";
  std::filesystem::remove(gate);
  const auto losses = tree.losses(2);  // n3 is below n2
  CHECK(losses.at(2).message == "srun: error: Node failure on n2");
  CHECK(losses.at(2).was_ready);
  CHECK(losses.contains(3));
  tree.agent.send_to(msg::kEveryHost, msg::End{0});
  for (std::uint32_t rank = 0; rank < 2; ++rank) tree.agent.expect<msg::Exited>();
  tree.agent.expect_done();
  for (const pid_t pid : tree.pids) CHECK(ends(pid));
}

TEST_CASE("joined hosts: an agent that cannot join gives the reason") {
  Joined tree(1, 1);
  tree.start.names = {"other"};
  tree.ask();
  CHECK(tree.losses(1).at(1).message == "n1: no host of the job has this name");
  tree.agent.finish();
}

TEST_CASE("an agent that has joined ends if its stdin ends before it has reached its parent") {
  os::Reactor reactor;
  // A parent that does not answer.
  std::vector<os::UniqueFd> connections;
  const os::Listener parent(reactor, *os::SocketAddress::numeric("127.0.0.1", 0),
                            [&](os::UniqueFd socket) { connections.push_back(std::move(socket)); });
  runtime::ZmqHub hub(reactor, {.addresses = {"127.0.0.1"}});
  std::optional<std::uint32_t> joined;
  runtime::ZmqJoins joins(hub, {}, {.hosts = {1, 2}, .names = {"n1", "n2"}, .iface = "127.0.0.1"},
                          [&](const wire::boot::Join& join) { joined = join.host; });

  os::FdPair in = os::make_pipe();
  const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  os::ProcessSpec spec;
  spec.path = WIREUP_AGENT;
  spec.args = {"wireup-agent", "join"};
  spec.environment = {"SLURMD_NODENAME=n2"};  // its parent is n1
  spec.fds = {{in.first.get(), STDIN_FILENO}, {null.get(), STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
  const os::StartedProcess agent = os::start_process(spec);
  in.first.reset();
  const std::string record =
      wire::encode_greeting(runtime::own_greeting()) + wire::encode_frame(wire::boot::encode(joins.record()));
  REQUIRE(::write(in.second.get(), record.data(), record.size()) == static_cast<ssize_t>(record.size()));
  os::test::run_until(reactor, [&] { return joined.has_value(); });
  joins.answer(*joined, {.parent = 1, .endpoints = {"tcp://" + parent.address().text()}});
  os::test::run_until(reactor, [&] { return !connections.empty(); });
  in.second.reset();
  CHECK(wait_readable(agent.pidfd.get()));
  ::kill(agent.pid, SIGKILL);
  CHECK(::waitpid(agent.pid, nullptr, 0) == agent.pid);
}

TEST_CASE("joined hosts: the end of the command is the end of its hosts") {
  Joined tree(2, 32);
  tree.start.command = {"/bin/sh", "-c", "echo 'no such partition' >&2; exit 3"};
  tree.ask();
  const auto losses = tree.losses(2);
  for (const auto& [host, lost] : losses) {
    CHECK(lost.message == "sh ended with code 3: no such partition");
    CHECK_FALSE(lost.was_ready);
  }
  tree.agent.finish();
}

TEST_CASE("joined hosts: a command that does not exist") {
  Joined tree(2, 32);
  tree.start.command = {"/nowhere/srun"};
  tree.ask();
  for (const auto& [host, lost] : tree.losses(2))
    CHECK(lost.message == "/nowhere/srun cannot be executed: No such file or directory");
  tree.agent.finish();
}

TEST_CASE("joined hosts: hosts that do not join in time are lost, and do not delay the end") {
  Joined tree(2, 32);
  tree.start.command = {"/bin/sh", "-c", "echo waiting for nodes >&2; exec sleep 1000"};
  SUBCASE("late") {
    tree.ask(300);
    for (const auto& [host, lost] : tree.losses(2)) {
      CHECK(lost.message == "no answer within 300 ms: waiting for nodes");
      CHECK(lost.late);
    }
  }
  SUBCASE("ended before") { tree.ask(); }
  tree.agent.finish();
}

// Starts each host by a command of its own, after NotTogether.
void start_singly(Joined& tree) {
  for (std::uint32_t host = 1; host <= tree.hosts; ++host) {
    tree.agent.send_to(tree.parent_of(host), msg::StartHost{.host = host,
                                                            .name = name_of(host),
                                                            .command = {WIREUP_AGENT, "link", "same-host"},
                                                            .environment = {"PATH=/usr/bin:/bin"},
                                                            .timeout_ms = kTimeoutMs,
                                                            .same_host = true});
  }
  for (std::uint32_t host = 1; host <= tree.hosts; ++host) tree.agent.expect<msg::Ready>();
  tree.run("exec sleep 1000");
  tree.agent.send_to(msg::kEveryHost, msg::End{0});
  for (std::uint32_t rank = 0; rank <= tree.hosts; ++rank) CHECK(tree.agent.expect<msg::Exited>().signaled);
  tree.agent.expect_done();
}

TEST_CASE("joined hosts: without an address to listen on each host is started by its own command") {
  Joined tree(2, 1);
  tree.start.iface = "no-such-if";
  tree.ask();
  CHECK(tree.agent.expect<msg::NotTogether>().reason.find("no-such-if") != std::string::npos);
  start_singly(tree);
}

TEST_CASE("joined hosts: without libzmq the command ends, and each host is started by its own command") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "wireup-no-zmq-XXXXXX";
  std::string path = folder.string();
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  std::ofstream(path + "/libzmq.so.5").close();
  ::setenv("LD_LIBRARY_PATH", path.c_str(), 1);
  Joined tree(2, 1);
  ::unsetenv("LD_LIBRARY_PATH");
  // It does not end with its stdin.
  tree.start.command = {"/bin/sh", "-c", "exec sleep 1000"};
  tree.ask();
  CHECK(tree.agent.expect<msg::NotTogether>().reason.find("libzmq.so.5") != std::string::npos);
  start_singly(tree);
  std::filesystem::remove_all(path);
}

}  // namespace
