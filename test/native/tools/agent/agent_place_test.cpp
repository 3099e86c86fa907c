// The CPUs of ranks, and the host name of a pretended node.
#include <sys/utsname.h>

#include "os/topology.h"
#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

std::string list(const std::vector<std::uint32_t>& cpus) {
  std::string text;
  for (const std::uint32_t cpu : cpus) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text;
}

TEST_CASE("ranks are bound to one unit after the other, and after the last to the first again") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  const auto cores = os::cpu_units(os::CpuUnit::core, os::allowed_cpus());
  agent.hello({.binding = {msg::BindingUnit::core}});
  agent.shell("grep Cpus_allowed_list: /proc/self/status");
  for (std::uint32_t rank = 0; rank <= cores.size(); ++rank) {
    const os::CpuSet& expected = cores[rank % cores.size()];
    const auto started = agent.start(msg::StartRank{.rank = rank});
    CHECK(started.cpus == expected);
    const std::string line = read_line(out.first.get());
    if (expected.size() == 1) CHECK(line == "Cpus_allowed_list:\t" + list(expected));
    agent.expect<msg::Exited>();
  }
  agent.finish();
}

TEST_CASE("binding to a CPU that does not exist is an error") {
  Driver agent;
  // Also for a rank that would be bound to another one.
  agent.hello({.binding = {msg::BindingUnit::list, {{os::allowed_cpus().front()}, {60'000}}}});
  agent.program({"true"});
  agent.send(msg::Start{0, {{.rank = 0}, {.rank = 1}}});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    const auto failed = agent.expect<msg::StartFailed>();
    CHECK(failed.task == rank);
    CHECK(failed.error == EINVAL);
    CHECK(failed.syscall == "sched_setaffinity");
    CHECK(failed.subject == "CPU 60000");
  }
  agent.finish();
}

TEST_CASE(
    "a rank of a pretended node sees the name of the node if the agent may set it, otherwise that of the "
    "host") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  for (const bool pretend : {true, false}) {
    msg::Group group = Driver::group(pretend ? 0 : 1, 1);
    group.nodes = {{.name = "pretended"}};
    group.pretend_hosts = pretend;
    agent.add(group);
  }
  agent.shell("echo $(uname -n) $MPIR_CVAR_CH3_INTERFACE_HOSTNAME");
  for (const std::uint32_t group : {0, 1}) {
    agent.start(msg::StartRank{.rank = 0}, {}, group);
    agent.expect<msg::Exited>();
  }
  agent.finish();
  utsname own{};
  REQUIRE(::uname(&own) == 0);
  const std::string name = own.nodename;
  // MPICH looks up the second name, so it is never a pretended one.
  CHECK(read_line(out.first.get()) == (::geteuid() == 0 ? "pretended " : name + " ") + name);
  CHECK(read_line(out.first.get()) == name + " pretended");
}

TEST_CASE(
    "a rank that has MPICH's interface does not get the name of its host, which MPICH refuses beside it") {
  os::FdPair out = os::make_pipe();
  Driver agent({.out = out.second.get()});
  out.second.reset();
  agent.greet();
  for (const bool named : {false, true}) {
    msg::Group group = Driver::group(named ? 1 : 0, 1);
    group.nodes = {{.name = named ? "n1" : ""}};
    agent.add(group);
  }
  agent.program({"sh", "-c", "echo $MPICH_NETWORK_IFACE ${MPIR_CVAR_CH3_INTERFACE_HOSTNAME-none}"}, 0,
                {"MPICH_NETWORK_IFACE=ib0"});
  for (const std::uint32_t group : {0, 1}) {
    agent.start(msg::StartRank{.rank = 0}, {}, group);
    agent.expect<msg::Exited>();
  }
  agent.finish();
  for (int i = 0; i < 2; ++i) CHECK(read_line(out.first.get()) == "ib0 none");
}

}  // namespace
