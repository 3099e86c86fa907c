// Whole lives of handles, with each allocation and each system call of the reactor thread failing in turn.
// Whatever fails, every handle is closed exactly once, nothing hangs, no descriptor and no child is left, and
// a fault that occurs once leaves another server alive.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "runtime/faults.h"
#include "runtime/test_process.h"
#include "wire/address.h"

namespace wireup::runtime {
namespace {

using namespace os::test;
using test::group_called;
using test::launch_called;
using test::server_called;
using test::TestProcess;
using wireup::test::Fault;
using wireup::test::FaultKind;
using wireup::test::FaultLength;
using wireup::test::FaultPlan;
using wireup::test::FaultThread;

using Handles = std::vector<Handle>;

Handle open_client(TestProcess& process, const std::string& address) {
  ConnectOptions options;
  options.address = *wire::parse_address(address).address;
  options.session.pmi_id = "4711";
  return process.runtime.connect(std::move(options));
}

wire::UnixAddress name_address() { return {"wireup-test-" + std::to_string(::getpid()) + "-names", true}; }

// Waits for the answers to `count` requests, or Closed.
void wait_for_answers(TestProcess& process, Handle client, std::size_t count) {
  process.wait(client, [&, seen = std::size_t{0}](const Notice& notice) mutable {
    if (TestProcess::is<engine::Answer>(notice)) ++seen;
    if (const auto* answers = std::get_if<Answers>(&notice.payload)) seen += answers->values.size();
    return seen >= count || TestProcess::is<Closed>(notice);
  });
}

// A server, a client that is its one rank, and all that a rank can ask for.
Handles serve_a_rank(TestProcess& process, ServerOptions options) {
  static const TemporaryFolder folder;
  options.group.auth.allowed_uids = {::geteuid()};
  options.group.auth.pmi_ids = {4711};
  options.listen.private_parents = {{"", folder.path()}};
  Runtime& runtime = process.runtime;
  const Handle server = runtime.open_server(std::move(options));
  if (!process.expect_or_closed<ServerOpened>(server)) return {server};
  const Handle client = open_client(process, process.expect<ServerOpened>(server).address);
  if (process.expect_or_closed<engine::Ready>(client)) {
    runtime.request(client, 1, ClientOperation::put, {{"key", "value"}});
    runtime.request(client, 2, ClientOperation::barrier, {{}});
    runtime.request(client, 3, ClientOperation::get, {{"key"}, {"missing"}});
    runtime.request(client, 5, ClientOperation::publish, {{"ocean", "port"}});
    runtime.request(client, 6, ClientOperation::lookup, {{"ocean"}});
    wait_for_answers(process, client, 6);
    engine::SpawnRequest spawn;
    spawn.commands.push_back({"program", {}, 1, {}});
    runtime.request_spawn(client, 7, spawn);
    const Notice& asked = process.wait(server, [](const Notice& notice) {
      return TestProcess::is<engine::SpawnQuery>(notice) || TestProcess::is<Closed>(notice) ||
             (TestProcess::is<engine::Event>(notice) &&
              std::get<engine::Event>(notice.payload).type == engine::EventType::disconnected);
    });
    if (const auto* query = std::get_if<engine::SpawnQuery>(&asked.payload))
      runtime.answer_spawn(server, query->id, {.rc = 0, .kvsname = "spawned"});
    runtime.request(client, 8, ClientOperation::finalize, {{}});
    if (TestProcess::is<engine::SpawnQuery>(asked)) wait_for_answers(process, client, 8);
  }
  runtime.close_client(client);
  runtime.close_server(server);
  return {server, client};
}

Handles serve_names(TestProcess& process) {
  Runtime& runtime = process.runtime;
  ListenOptions listen;
  listen.address = name_address();
  const Handle names = runtime.open_name_server(std::move(listen));
  Handles handles{names};
  if (process.expect_or_closed<ServerOpened>(names)) {
    ServerOptions options = server_called("server");
    options.name_server = name_address();
    for (const Handle handle : serve_a_rank(process, std::move(options))) handles.push_back(handle);
    const Handle list = runtime.list_names(name_address());
    process.expect<Closed>(list);
    handles.push_back(list);
  }
  runtime.close_server(names);
  return handles;
}

// The launch ends by stop(), or by a failing rank.
Handles launch(TestProcess& process, bool stop) {
  LaunchOptions options = launch_called("launch", WIREUP_STUB_AGENT);
  options.group.layout = engine::Layout::by_node(2, 1);
  options.group.group.nodes = {{.host = 0}, {.host = 1}};
  options.hosts = {{.name = "n0"}, {.name = "n1", .command = {"start"}}};
  options.debugger = {"debugger"};
  options.debugged = {1};
  Runtime& runtime = process.runtime;
  if (stop) {
    AgentOptions prepared;
    prepared.path = WIREUP_STUB_AGENT;
    runtime.prepare_agent(std::move(prepared));
  }
  const Handle launch = runtime.launch(std::move(options));
  const Notice& last = process.wait(launch, [](const Notice& notice) {
    const auto* started = std::get_if<RankStarted>(&notice.payload);
    return (started != nullptr && started->rank == 1) || TestProcess::is<Closed>(notice);
  });
  if (!TestProcess::is<Closed>(last)) {
    runtime.status(launch, 1);
    runtime.spawn(launch, 1, {{1, {}}, group_called("spawned")});
    process.wait(launch, [](const Notice& notice) {
      return TestProcess::is<GroupSpawned>(notice) || TestProcess::is<SpawnFailure>(notice) ||
             TestProcess::is<Closed>(notice);
    });
    if (stop) {
      runtime.stop(launch, {});
    } else {
      runtime.signal(launch, SIGUSR1, {});
    }
  }
  return {launch};
}

// A fault that lasts has few different effects, so some of its beginnings suffice.
std::uint64_t step_of(FaultPlan plan) { return plan.length == FaultLength::once ? 1 : 5; }

template <typename Scenario>
void play(FaultPlan plan, std::size_t least, Scenario scenario) {
  const std::size_t fds = fds_of(::getpid()).size();
  const std::uint64_t faults = wireup::test::for_each_fault(
      [&](std::uint64_t nth) {
        TestProcess process;
        const Handle other = process.runtime.open_server(server_called("other"));
        process.expect<ServerOpened>(other);
        bool hit = false;
        INFO("fault ", nth);
        {
          const Fault fault(plan, nth);
          const Handles handles = scenario(process);
          for (const Handle handle : handles) {
            process.expect<Closed>(handle);
            CHECK(process.template count<Closed>(handle) == 1);
          }
          hit = fault.hit();
        }
        INFO("in ", std::string(Fault::name()));
        if (plan.length == FaultLength::once) process.expect_alive(other);
        return hit;
      },
      step_of(plan));
  CHECK(faults >= least);
  CHECK(fds_of(::getpid()).size() == fds);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

constexpr FaultPlan kPlans[] = {
    {FaultKind::allocation, FaultThread::other, FaultLength::once},
    {FaultKind::allocation, FaultThread::other, FaultLength::from_then_on},
    {FaultKind::system_call, FaultThread::other, FaultLength::once},
    {FaultKind::system_call, FaultThread::other, FaultLength::from_then_on},
};

}  // namespace

TEST_CASE("faults: a PMI server and its client") {
  for (const FaultPlan plan : kPlans) {
    play(plan, 20, [](TestProcess& process) { return serve_a_rank(process, server_called("server")); });
  }
}

TEST_CASE("faults: a name server, and what uses it") {
  for (const FaultPlan plan : kPlans) play(plan, 20, serve_names);
}

TEST_CASE("faults: a launch that is stopped") {
  for (const FaultPlan plan : kPlans)
    play(plan, 5, [](TestProcess& process) { return launch(process, true); });
}

TEST_CASE("faults: a launch whose ranks fail") {
  for (const FaultPlan plan : kPlans)
    play(plan, 5, [](TestProcess& process) { return launch(process, false); });
}

TEST_CASE("faults: a shutdown at any time, with any fault") {
  for (const FaultPlan plan : kPlans) {
    wireup::test::for_each_fault(
        [&](std::uint64_t nth) {
          TestProcess process;
          const Handle other = process.runtime.open_server(server_called("other"));
          process.expect<ServerOpened>(other);
          const Fault fault(plan, nth);
          LaunchOptions options = launch_called("launch", WIREUP_STUB_AGENT);
          const Handle launch = process.runtime.launch(std::move(options));
          process.expect_or_closed<RankStarted>(launch);
          process.runtime.shutdown();
          return fault.hit();
        },
        step_of(plan));
  }
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("faults: a call of the JavaScript thread that fails leaves no handle") {
  for (const FaultKind kind : {FaultKind::allocation, FaultKind::system_call}) {
    const FaultPlan plan{kind, FaultThread::own, FaultLength::once};
    const std::uint64_t faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
      TestProcess process;
      Handle server = 0;
      Handle launch = 0;
      bool hit = false;
      {
        // Prepared before the fault: these are the test's own allocations.
        ServerOptions server_options = server_called("server");
        LaunchOptions launch_options = launch_called("launch", WIREUP_STUB_AGENT);
        const Fault fault(plan, nth);
        try {
          server = process.runtime.open_server(std::move(server_options));
          process.runtime.status(server, 1);
          launch = process.runtime.launch(std::move(launch_options));
          process.runtime.stop(launch, {});
          process.runtime.open_channel(server, 0);
          process.runtime.close_server(server);
        } catch (const std::exception&) {
        }
        hit = fault.hit();
      }
      if (server != 0) process.runtime.close_server(server);
      if (launch != 0) process.runtime.stop(launch, {});
      if (server != 0) process.expect<Closed>(server);
      if (launch != 0) process.expect<Closed>(launch);
      process.receive();
      CHECK(process.total<Closed>() == (server != 0 ? 1 : 0) + (launch != 0 ? 1 : 0));
      return hit;
    });
    CHECK(faults >= (kind == FaultKind::allocation ? 10 : 1));
  }
}

}  // namespace wireup::runtime
