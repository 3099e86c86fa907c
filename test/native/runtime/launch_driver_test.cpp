// A launch of two ranks on two hosts that spawns a process group and fails, interrupted after each of its
// notices in every way. The agent is a stand-in that starts no process.
#include "runtime/launch_driver.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/support.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

GroupOptions launched(std::string kvsname, std::uint32_t size) {
  GroupOptions options;
  options.group.kvsname = std::move(kvsname);
  options.layout = engine::Layout::by_node(size, 1);
  for (std::uint32_t node = 0; node < size; ++node) options.group.nodes.push_back({.host = node});
  wire::agent::Program program;
  program.args = {"program"};
  options.programs = {program};
  return options;
}

class Launch final : public NoticeSink {
 public:
  // Calls `interrupt` after the n-th notice, from the loop.
  Launch(std::size_t nth, std::function<void(Launch&)> interrupt)
      : nth_(nth), interrupt_(std::move(interrupt)) {
    LaunchOptions options;
    options.group = launched("first", 2);
    options.hosts = {{.name = "n0"}, {.name = "n1", .command = {"start"}}};
    options.agent.path = WIREUP_STUB_AGENT;
    driver = std::make_unique<LaunchDriver>(
        LaunchDriver::Parts{.reactor = reactor, .reaper = reaper, .sink = *this, .handle = 1},
        std::move(options), [this] {
          ++ends;
          reactor.post([this] { driver.reset(); });
        });
    run_until(reactor, [this] { return driver == nullptr && reaper.idle(); });
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  }

  void notify(Handle, Payload payload, std::uint32_t group, When) override {
    if (const auto* ready = std::get_if<AgentReady>(&payload)) agent = ready->pid;
    if (const auto* started = std::get_if<RankStarted>(&payload); started != nullptr && started->rank == 1) {
      on_driver([](LaunchDriver& launch) { launch.spawn(1, {{1, {}}, launched("second", 1)}); });
    }
    if (std::holds_alternative<GroupSpawned>(payload))
      on_driver([](LaunchDriver& launch) { launch.signal(SIGUSR1, {}); });
    if (auto* found = as<LaunchResult>(payload)) {
      ++results;
      result = std::move(*found);
    }
    CHECK(ends == 0);
    count(group);
  }
  void tell(Handle, const engine::Event&, std::uint32_t group, When) override { count(group); }

  os::Reactor reactor;
  Reaper reaper{reactor};
  std::unique_ptr<LaunchDriver> driver;
  pid_t agent = 0;
  int results = 0;
  int ends = 0;
  LaunchResult result;
  bool interrupted = false;

 private:
  void on_driver(std::function<void(LaunchDriver&)> action) {
    reactor.post([this, action = std::move(action)] {
      if (driver && ends == 0) action(*driver);
    });
  }
  void count(std::uint32_t) {
    if (++notices_ != nth_) return;
    reactor.post([this] {
      if (!driver || ends > 0) return;
      interrupted = true;
      interrupt_(*this);
    });
  }

  std::size_t nth_;
  std::function<void(Launch&)> interrupt_;
  std::size_t notices_ = 0;
};

// Interrupts launches after the first, the second, ... notice until one is over before. Returns how many were
// interrupted.
std::size_t interrupt_each(const std::function<void(Launch&)>& interrupt,
                           const std::function<void(const Launch&)>& check) {
  for (std::size_t nth = 1;; ++nth) {
    const Launch launch(nth, interrupt);
    if (!launch.interrupted) return nth - 1;
    CAPTURE(nth);
    check(launch);
  }
}

void expect_one_result(const Launch& launch) {
  CHECK(launch.results == 1);
  CHECK(launch.ends == 1);
}

}  // namespace

TEST_CASE("launch driver: without an interruption the launch fails as its ranks do") {
  const Launch launch(SIZE_MAX, nullptr);
  expect_one_result(launch);
  REQUIRE(launch.result.failure);
  CHECK(launch.result.failure->reason == engine::FailureReason::exit);
  CHECK(launch.result.exit_code == 7);
}

TEST_CASE("launch driver: the agent is killed after any notice") {
  const std::size_t interrupted = interrupt_each(
      [](Launch& launch) {
        if (launch.agent != 0) ::kill(launch.agent, SIGKILL);
      },
      [](const Launch& launch) {
        expect_one_result(launch);
        CHECK(launch.result.failure.has_value());
      });
  CHECK(interrupted >= 5);
}

TEST_CASE("launch driver: it is stopped after any notice") {
  const std::size_t interrupted =
      interrupt_each([](Launch& launch) { launch.driver->stop({}); }, expect_one_result);
  CHECK(interrupted >= 5);
}

TEST_CASE("launch driver: it is abandoned after any notice") {
  const std::size_t interrupted =
      interrupt_each([](Launch& launch) { launch.driver->abandon(); }, expect_one_result);
  CHECK(interrupted >= 5);
}

TEST_CASE("launch driver: it is given up after any notice, with a result that says why") {
  const std::size_t interrupted =
      interrupt_each([](Launch& launch) { launch.driver->give_up("inside wireup: a test"); },
                     [](const Launch& launch) {
                       expect_one_result(launch);
                       REQUIRE(launch.result.failure);
                       CHECK(launch.result.exit_code != 0);
                     });
  CHECK(interrupted >= 5);
}

TEST_CASE("launch driver: it is destroyed after any notice, and its agent is ended and reaped") {
  const std::size_t interrupted = interrupt_each([](Launch& launch) { launch.driver.reset(); },
                                                 [](const Launch& launch) { CHECK(launch.ends == 0); });
  CHECK(interrupted >= 5);
}

}  // namespace wireup::runtime
