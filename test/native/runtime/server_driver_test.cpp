// A PMI server and its ranks on one reactor, whose ends come in every order.
#include "runtime/server_driver.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/launched_group.h"
#include "runtime/name_client.h"
#include "runtime/name_server.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

constexpr const char* kInit = "cmd=init pmi_version=1 pmi_subversion=1\n";

engine::ProcessGroupOptions two_ranks() {
  engine::ProcessGroupOptions options;
  options.kvsname = "kvs";
  options.layout = engine::Layout::single_node(2);
  return options;
}

}  // namespace

TEST_CASE("server driver: its ranks hang up, their processes end and it is destroyed, in every order") {
  enum class End { hang_up_0, hang_up_1, process_0, process_1, destroy };
  std::array order{End::hang_up_0, End::hang_up_1, End::process_0, End::process_1, End::destroy};
  const std::size_t fds = fds_of(::getpid()).size();
  do {
    os::Reactor reactor;
    std::vector<engine::Event> events;
    auto driver = std::make_unique<ServerDriver>(
        reactor, two_ranks(), ListenOptions{},
        ServerCallbacks{.on_event = [&](const engine::Event& event) { events.push_back(event); }});
    std::array<os::UniqueFd, 2> ranks{driver->open_channel(0), driver->open_channel(1)};
    const auto count = [&](engine::EventType type) {
      return std::ranges::count_if(events, [&](const engine::Event& event) { return event.type == type; });
    };
    for (const os::UniqueFd& rank : ranks) wireup::test::write_all(rank.get(), kInit);
    run_until(reactor, [&] { return count(engine::EventType::initialized) == 2; });
    std::ptrdiff_t disconnected = 0;
    for (const End end : order) {
      if (end == End::destroy) driver.reset();
      const bool hangs_up = end == End::hang_up_0 || end == End::hang_up_1;
      if (hangs_up) {
        ranks[end == End::hang_up_0 ? 0 : 1].reset();
        disconnected += driver ? 1 : 0;
      }
      if (driver && end == End::process_0) driver->depart(0);
      if (driver && end == End::process_1) driver->depart(1);
      run_until(reactor, [&] { return count(engine::EventType::disconnected) == disconnected; });
    }
  } while (std::ranges::next_permutation(order).found);
  CHECK(fds_of(::getpid()).size() == fds);
}

TEST_CASE(
    "server driver: its owner answers queries about names later, and a spawn is refused without an owner") {
  os::Reactor reactor;
  std::vector<engine::NameQuery> asked;
  ServerDriver driver(reactor, two_ranks(), ListenOptions{},
                      {.on_event = [](const engine::Event&) {},
                       .on_name_query = [&](engine::NameQuery query) { asked.push_back(std::move(query)); }});
  const os::UniqueFd rank = driver.open_channel(0);
  wireup::test::write_all(rank.get(), std::string(kInit) +
                                          "cmd=lookup_name service=ocean\n"
                                          "mcmd=spawn\nexecname=z\nnprocs=1\nendcmd\n");
  std::string received;
  const auto receive_until = [&](std::string_view last) {
    run_until(reactor, [&] {
      char buffer[1024];
      if (wireup::test::wait_readable(rank.get(), 0))
        received.append(buffer, static_cast<std::size_t>(::read(rank.get(), buffer, sizeof(buffer))));
      return received.ends_with(last);
    });
  };
  receive_until("cmd=spawn_result rc=-1 msg=not_supported\n");
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request.service == "ocean");
  driver.answer_name(asked[0].id, {engine::NameError::none, "p"});
  receive_until("cmd=lookup_result rc=0 info=ok port=p\n");
}

TEST_CASE("server driver: its owner ends the barriers of ranks on several hosts") {
  os::Reactor reactor;
  engine::ProcessGroupOptions options = two_ranks();
  options.elsewhere = {false, true};
  ServerCallbacks callbacks{.on_event = [](const engine::Event&) {}};
  CHECK_THROWS_AS(ServerDriver(reactor, options, ListenOptions{}, callbacks), std::invalid_argument);
  std::vector<std::uint64_t> fences;
  std::vector<engine::BarrierQuery> asked;
  ServerDriver* server = nullptr;
  callbacks.on_fence = [&](const engine::FenceQuery& fence) {
    fences.push_back(fence.number);
    CHECK(server->finish_fence(fence.number + 1, "") != "");
    CHECK(server->finish_fence(fence.number, "") == "");
  };
  callbacks.on_barrier_query = [&](engine::BarrierQuery query) { asked.push_back(std::move(query)); };
  ServerDriver driver(reactor, options, ListenOptions{}, callbacks);
  server = &driver;
  const os::UniqueFd rank = driver.open_channel(0);
  wireup::test::write_all(rank.get(),
                          "cmd=init pmi_version=1 pmi_subversion=2\n"
                          "cmd=barrier_in\ncmd=barrier_in group=0-1:5\n");
  run_until(reactor, [&] { return !asked.empty(); });
  CHECK(fences == std::vector<std::uint64_t>{0});
  CHECK(asked[0].group == "0-1:5");
  driver.answer_barrier(asked[0].id, false, 1);
  for (const char* line : {"cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=0",
                           "cmd=barrier_out rc=0 tag=0", "cmd=barrier_out rc=-1 msg=rank_1_has_left tag=5"}) {
    CHECK(wireup::test::read_line(rank.get()) == line);
  }
}

TEST_CASE("server driver: a channel for a rank that has one is refused") {
  os::Reactor reactor;
  std::vector<engine::Event> events;
  ServerDriver driver(reactor, two_ranks(), ListenOptions{},
                      {.on_event = [&](const engine::Event& event) { events.push_back(event); }});
  const os::UniqueFd rank = driver.open_channel(0);
  CHECK_THROWS_AS(driver.open_channel(0), std::logic_error);
  driver.reject_channel(0, "the rank has a connection");
  REQUIRE(events.size() == 1);
  CHECK(events[0].type == engine::EventType::rejected);
  CHECK(events[0].message == "the rank has a connection");
  CHECK(driver.group().status().rejected == 1);
}

}  // namespace wireup::runtime
