// What is recorded of the connections of a PMI server, and that nothing waits for a slow receiver.
#include "runtime/trace.h"

#include <doctest/doctest.h>

#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/outbox.h"
#include "runtime/server_driver.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

struct Received {
  std::string lines;
  std::uint64_t records = 0;
  std::uint64_t dropped = 0;
  bool slow = false;

  TraceReceiver receiver() {
    return {.take =
                [this](TraceLines next) {
                  lines += next.lines;
                  records += next.records;
                  dropped += next.dropped;
                },
            .is_slow = [this] { return slow; }};
  }
};

std::uint64_t count_of(const std::string& text, const std::string& part) {
  std::uint64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The lines without their times.
std::string without_times(const std::string& lines) {
  return std::regex_replace(lines, std::regex(R"(\d+\.\d{6} )"), "");
}

constexpr const char* kInitLine = "cmd=init pmi_version=1 pmi_subversion=1\n";

TEST_CASE("trace: lines come in batches, and at the end") {
  os::Reactor reactor;
  Received received;
  Trace trace(reactor, {.on = true}, "", received.receiver());
  trace.event({.rank = 1}, {.event = "connected"});
  CHECK(received.lines.empty());
  run_until(reactor, [&] { return received.records == 1; });
  trace.event({.rank = 1}, {.event = "closed"});
  trace.finish();
  CHECK(received.records == 2);
  CHECK(without_times("0.000000 " + received.lines).find("1: closed\n") != std::string::npos);
}

TEST_CASE("trace: only the ranks that are asked for, and what has no rank") {
  os::Reactor reactor;
  Received received;
  Trace trace(reactor, {.on = true, .ranks = {{1, 2}, {5, 5}}}, "", received.receiver());
  for (std::uint32_t rank = 0; rank < 7; ++rank) trace.event({.rank = rank}, {.event = "closed"});
  trace.event({.connection = 9}, {.event = "closed"});
  trace.finish();
  CHECK(received.lines ==
        "0.000000 1: closed\n0.000000 2: closed\n0.000000 5: closed\n0.000000 ?9: closed\n");
}

TEST_CASE("trace: while its receiver is slow it keeps a bounded number of bytes, and counts what it drops") {
  os::Reactor reactor;
  Received received;
  received.slow = true;
  Trace trace(reactor, {.on = true, .json = true}, "n1", received.receiver());
  const std::string text(1000, 'x');
  constexpr std::uint64_t kMessages = 10'000;
  for (std::uint64_t i = 0; i < kMessages; ++i)
    trace.message({.rank = 0}, wire::Side::client, {wire::Framing::line, text}, false);
  CHECK(received.lines.empty());
  received.slow = false;
  run_until(reactor, [&] { return !received.lines.empty(); });
  trace.message({.rank = 0}, wire::Side::client, {wire::Framing::line, "last"}, false);
  trace.finish();
  CHECK(received.lines.size() > kMaxTraceBuffer - 2 * text.size());
  CHECK(received.lines.size() < kMaxTraceBuffer + 2 * text.size());
  CHECK(received.dropped > 0);
  CHECK(received.records + received.dropped == kMessages + 1);
  CHECK(count_of(received.lines, "\"wire\":\"1\"") == received.records);
  CHECK(received.lines.find("\"host\":\"n1\",\"event\":\"dropped\",\"count\":" +
                            std::to_string(received.dropped) + "}") != std::string::npos);
  CHECK(received.lines.ends_with("\"text\":\"last\"}\n"));
}

TEST_CASE("outbox: lines of a recording are bounded, and what is dropped is counted") {
  Outbox outbox([] {});
  outbox.open(1, os::Reactor::Clock::now());
  const TraceLines lines{std::string(1 << 20, 'x'), 100, 1};
  for (int i = 0; i < 7; ++i) outbox.notify(1, TraceLines(lines));
  auto notices = outbox.take(1000).notices;
  REQUIRE(notices.size() == 5);
  const auto& dropped = std::get<TraceLines>(notices.back().payload);
  CHECK(dropped.lines.empty());
  CHECK(dropped.dropped == 3 * 101);
  // The batch has made room.
  outbox.notify(1, TraceLines(lines));
  notices = outbox.take(1000).notices;
  REQUIRE(notices.size() == 1);
  CHECK(std::get<TraceLines>(notices[0].payload).records == 100);
}

struct TracedServer {
  os::Reactor reactor;
  Received received;
  std::shared_ptr<Trace> trace;
  std::vector<engine::Event> events;
  std::unique_ptr<ServerDriver> driver;

  TracedServer(wire::agent::TracePlan plan, const ListenOptions& listen, std::uint32_t number = 0) {
    trace = std::make_shared<Trace>(reactor, plan, "", received.receiver());
    engine::ProcessGroupOptions options;
    options.kvsname = "kvs";
    options.layout = engine::Layout::single_node(2);
    options.auth.pmi_ids = {std::string("1234567"), std::string("7654321")};
    options.auth.allowed_uids = {{::geteuid(), ::geteuid()}};
    driver = std::make_unique<ServerDriver>(
        reactor, options, listen,
        ServerCallbacks{.on_event = [this](const engine::Event& event) { events.push_back(event); }},
        Traced{trace, number});
  }

  void run_until_event(engine::EventType type) {
    run_until(reactor, [&] {
      return std::ranges::any_of(events, [&](const engine::Event& event) { return event.type == type; });
    });
  }

  std::string lines() {
    driver->finish_trace();
    return without_times(received.lines);
  }
};

TEST_CASE("trace: the life of a channel, its messages, and bytes that are none") {
  TracedServer server({.on = true}, {}, 3);
  os::UniqueFd rank = server.driver->open_channel(1);
  wireup::test::write_all(rank.get(), std::string(kInitLine) + "cmd=nonsense\ncmd=beg");
  server.run_until_event(engine::EventType::initialized);
  rank.reset();
  server.run_until_event(engine::EventType::disconnected);
  CHECK(server.lines() ==
        "3.1: connected fd\n"
        "3.1: C: cmd=init pmi_version=1 pmi_subversion=1\n"
        "3.1: C: cmd=nonsense\n"
        "3.1: S: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"
        "3.1: protocol-error: nonsense: unknown_command\n"
        "3.1: S: cmd=nonsense_result rc=-1 msg=unknown_command\n"
        "3.1: C~ cmd=beg\n"
        "3.1: protocol-error: the connection ended in the middle of a line\n"
        "3.1: closed without finalize\n");
}

// Connects over a private socket, sends `bytes`, and waits for the event.
std::string over_socket(bool secrets, const std::string& bytes, engine::EventType until) {
  TracedServer server({.on = true, .secrets = secrets},
                      {.address = wire::TcpAddress{.host = "127.0.0.1", .port = 0}});
  const auto& address = std::get<wire::TcpAddress>(*server.driver->address());
  const os::UniqueFd client = os::connect_start(*os::SocketAddress::numeric("127.0.0.1", address.port));
  wireup::test::write_all(client.get(), bytes);
  server.run_until_event(until);
  return server.lines();
}

TEST_CASE("trace: a PMI_ID is masked, also if it is wrong, unless it is asked for") {
  const std::string init = std::string(kInitLine);
  const std::string right = "cmd=initack pmiid=7654321\n" + init;
  const std::string masked = over_socket(false, right, engine::EventType::initialized);
  CHECK(masked.starts_with("1: connected 127.0.0.1:"));
  CHECK(masked.find("\n1: C: cmd=initack pmiid=***\n1: C: cmd=init ") != std::string::npos);
  CHECK(masked.find("7654321") == std::string::npos);
  CHECK(
      over_socket(true, right, engine::EventType::initialized).find("\n1: C: cmd=initack pmiid=7654321\n") !=
      std::string::npos);
  const std::string wrong = over_socket(false, "cmd=initack pmiid=7654320\n", engine::EventType::rejected);
  CHECK(wrong.find("C: cmd=initack pmiid=***\n") != std::string::npos);
  CHECK(wrong.find("765432") == std::string::npos);
  CHECK(wrong.find(": refused 127.0.0.1:") != std::string::npos);
  const std::string garbage = over_socket(false, "GET / HTTP/1.1\r\n", engine::EventType::rejected);
  CHECK(garbage.find("C: GET / HTTP/1.1\\r\n") != std::string::npos);
}

}  // namespace
}  // namespace wireup::runtime
