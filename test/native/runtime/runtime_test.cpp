#include "runtime/runtime.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "runtime/blocking.h"
#include "runtime/test_process.h"

namespace wireup::runtime {

using namespace os::test;
using test::group_called;
using test::launch_called;
using test::server_called;
using test::TestProcess;

TEST_CASE("runtime: an exception fails the server that it was for, and no other") {
  TestProcess process;
  const Handle good = process.runtime.open_server(server_called("good"));
  const Handle bad = process.runtime.open_server(server_called("not a word"));
  CHECK(process.expect<Error>(bad).code == "ERR_PMI_OPTION");
  process.expect<Closed>(bad);
  process.expect<ServerOpened>(good);
  process.expect_alive(good);
  process.runtime.close_server(bad);
  process.runtime.close_server(good);
  process.expect<Closed>(good);
  CHECK(process.count<Closed>(bad) == 1);
}

TEST_CASE("runtime: a spawned group that cannot be made is a failed spawn, and the launch goes on") {
  TestProcess process;
  LaunchOptions options = launch_called("launch", WIREUP_AGENT);
  const Handle launch = process.runtime.launch(std::move(options));
  const pid_t rank = process.expect<RankStarted>(launch).pid;
  process.runtime.spawn(launch, 1, {{1, {}}, group_called("not a word")});
  CHECK(process.expect<SpawnFailure>(launch).message.starts_with("kvsname"));
  REQUIRE(::kill(rank, 0) == 0);
  process.runtime.stop(launch, std::chrono::milliseconds(0));
  CHECK(process.expect<LaunchResult>(launch).stopped);
  process.expect<Closed>(launch);
}

TEST_CASE("runtime: shutdown ends every launch and its processes, whatever they are doing") {
  pid_t rank = 0;
  {
    TestProcess process;
    for (const bool wait_for_rank : {false, true}) {
      LaunchOptions options = launch_called("launch", WIREUP_AGENT);
      const Handle launch = process.runtime.launch(std::move(options));
      if (wait_for_rank) rank = process.expect<RankStarted>(launch).pid;
    }
    AgentOptions prepared;
    prepared.path = WIREUP_AGENT;
    process.runtime.prepare_agent(std::move(prepared));
  }
  CHECK(wireup::test::eventually([&] { return ::kill(rank, 0) < 0; }));
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("runtime: what was posted before shutdown is done, an abort too") {
  os::FdPair pair = os::stream_pair();
  {
    TestProcess process;
    ConnectOptions options;
    options.fd = pair.first.release();
    options.session.rank = 0;
    options.session.size = 1;
    const Handle client = process.runtime.connect(std::move(options));
    process.runtime.abort(client, 3, "enough");
  }
  CHECK(wireup::test::read_all(pair.second.get()).find("cmd=abort exitcode=3") != std::string::npos);
}

TEST_CASE("runtime: methods ignore a handle that is closed or was never given") {
  TestProcess process;
  const Handle server = process.runtime.open_server(server_called("server"));
  process.runtime.close_server(server);
  process.expect<Closed>(server);
  for (const Handle handle : {server, Handle{77}}) {
    process.runtime.close_server(handle);
    process.runtime.status(handle, 1);
    process.runtime.signal(handle, SIGTERM, {});
    process.runtime.stop(handle, {});
    process.runtime.spawn(handle, 1, {{1, {}}, group_called("group")});
    process.runtime.request(handle, 1, ClientOperation::get, {{"key"}});
    process.runtime.close_client(handle);
    CHECK(process.runtime.open_channel(handle, 0));
  }
  const Handle second = process.runtime.open_server(server_called("second"));
  process.expect_alive(second);
  CHECK(process.count<Closed>(server) == 1);
}

TEST_CASE("runtime: a program that waits as a singleton becomes the rank of a launch") {
  const os::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto any = *os::SocketAddress::numeric("127.0.0.1", 0);
  REQUIRE(::bind(listener.get(), any.raw(), any.size()) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  const std::uint16_t port = os::SocketAddress::of_local(listener.get()).port();
  TestProcess process;
  const auto launch_with = [&](std::uint16_t at) {
    LaunchOptions options = launch_called("singleton", WIREUP_STUB_AGENT);
    options.singleton = {at, 1};
    return process.runtime.launch(std::move(options));
  };

  SUBCASE("and other handles are served while the launcher waits for it") {
    const Handle launch = launch_with(port);
    const os::UniqueFd program(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    CHECK(wireup::test::read_line(program.get()) == "cmd=singinit authtype=none");
    const Handle server = process.runtime.open_server(server_called("server"));
    process.expect_alive(server);
    CHECK(process.count<RankStarted>(launch) == 0);
    wireup::test::write_all(program.get(),
                            "cmd=singinit pmi_version=1 pmi_subversion=1 stdio=yes authtype=none\n");
    CHECK(wireup::test::read_line(program.get()) ==
          "cmd=singinit_info rc=0 versionok=yes stdio=no kvsname=singleton");
    process.expect<RankStarted>(launch);
    process.runtime.stop(launch, {});
    process.expect<LaunchResult>(launch);
    process.expect<Closed>(launch);
  }
  SUBCASE("but not if it answers something else") {
    const Handle launch = launch_with(port);
    const os::UniqueFd program(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    wireup::test::write_all(program.get(), "hello\n");
    const Error& error = process.expect<Error>(launch);
    CHECK(error.code == "ERR_PMI_LAUNCH");
    CHECK(error.error == EPROTO);
    process.expect<Closed>(launch);
  }
  SUBCASE("but not if it closes the connection") {
    const Handle launch = launch_with(port);
    {
      const os::UniqueFd program(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      CHECK(wireup::test::read_line(program.get()) == "cmd=singinit authtype=none");
    }
    CHECK(process.expect<Error>(launch).error == ECONNRESET);
    process.expect<Closed>(launch);
  }
  SUBCASE("but not if nothing listens there") {
    const os::UniqueFd reserved(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(reserved.get(), any.raw(), any.size()) == 0);
    const Handle launch = launch_with(os::SocketAddress::of_local(reserved.get()).port());
    CHECK(process.expect<Error>(launch).error == ECONNREFUSED);
    process.expect<Closed>(launch);
  }
}

TEST_CASE("singleton: a program that does not answer in time is given up") {
  const os::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto any = *os::SocketAddress::numeric("127.0.0.1", 0);
  REQUIRE(::bind(listener.get(), any.raw(), any.size()) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  os::Reactor reactor;
  std::exception_ptr failure;
  SingletonJoin join(
      reactor, os::SocketAddress::of_local(listener.get()).port(), "kvs",
      [&](SingletonJoin::Result result) { failure = result.failure; }, 20ms);
  run_until(reactor, [&] { return failure != nullptr; });
  CHECK(to_error(failure, "code").error == ETIMEDOUT);
}

}  // namespace wireup::runtime
