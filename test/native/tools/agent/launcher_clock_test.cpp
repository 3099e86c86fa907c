// The launcher's clock as an agent knows it (tools/agent/launcher_clock.h), and the times that an agent
// sends.
#include "tools/agent/launcher_clock.h"

#include <chrono>

#include "runtime/nanoseconds.h"
#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using agent::LauncherClock;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using TimePoint = LauncherClock::TimePoint;

// The launcher's clock is ahead by so much.
constexpr hours kAhead{30};
const TimePoint kBegin{hours(1)};

std::uint64_t launcher_ns(TimePoint time) { return runtime::to_ns(time + kAhead); }
nanoseconds error_of(const LauncherClock& clock, TimePoint time) {
  return std::chrono::abs(runtime::to_time_point(clock.launcher_ns(time)) - (time + kAhead));
}

// A query at `sent` whose answer needs these times for both ways.
void ask(LauncherClock& clock, TimePoint sent, nanoseconds there, nanoseconds back) {
  const auto query = clock.next_query(sent);
  REQUIRE(query.has_value());
  const msg::ClockAnswer answer{query->sent_ns, launcher_ns(sent + there)};
  CHECK(clock.answer(answer, sent + there + back) == nullptr);
}

TEST_CASE("launcher clock: on the launcher's machine it is the same, and nothing is asked") {
  LauncherClock clock(true);
  clock.greet(5, kBegin);
  CHECK_FALSE(clock.next_query(kBegin).has_value());
  CHECK(clock.launcher_ns(kBegin) == runtime::to_ns(kBegin));
  CHECK(clock.own_time(runtime::to_ns(kBegin)) == kBegin);
}

TEST_CASE("launcher clock: before the first answer, the launcher's time is that of its Hello") {
  LauncherClock clock(false);
  clock.greet(launcher_ns(kBegin - milliseconds(80)), kBegin);
  CHECK(clock.launcher_ns(kBegin) == launcher_ns(kBegin - milliseconds(80)));
}

TEST_CASE("launcher clock: the error is at most half of the shortest round trip") {
  const nanoseconds ways[] = {microseconds(0), microseconds(1), microseconds(3001), milliseconds(40)};
  for (const nanoseconds there : ways) {
    for (const nanoseconds back : ways) {
      CAPTURE(there.count());
      CAPTURE(back.count());
      LauncherClock clock(false);
      clock.greet(launcher_ns(kBegin), kBegin + hours(2));
      ask(clock, kBegin, milliseconds(60), milliseconds(1));
      ask(clock, kBegin + milliseconds(100), there, back);
      CHECK(error_of(clock, kBegin + hours(1)) <= (there + back) / 2 + nanoseconds(1));
      if (there + back <= milliseconds(1)) continue;
      ask(clock, kBegin + milliseconds(200), milliseconds(90), milliseconds(0));
      CHECK(error_of(clock, kBegin + hours(1)) <= (there + back) / 2 + nanoseconds(1));
      const TimePoint time = kBegin + milliseconds(300);
      CHECK(clock.own_time(clock.launcher_ns(time)) == time);
    }
  }
}

TEST_CASE("launcher clock: it asks until a round trip is short, and not too often") {
  LauncherClock clock(false);
  ask(clock, kBegin, milliseconds(1), microseconds(1));
  ask(clock, kBegin, microseconds(500), microseconds(500));
  CHECK_FALSE(clock.next_query(kBegin).has_value());

  LauncherClock slow(false);
  for (std::uint32_t i = 0; i < msg::kMaxClockQueries; ++i)
    ask(slow, kBegin + milliseconds(i), milliseconds(2), milliseconds(2));
  CHECK_FALSE(slow.next_query(kBegin).has_value());
}

TEST_CASE("launcher clock: the offset stays after the first start of a rank") {
  LauncherClock clock(false);
  ask(clock, kBegin, milliseconds(30), milliseconds(0));
  const auto query = clock.next_query(kBegin);
  REQUIRE(query.has_value());
  clock.fix();
  const std::uint64_t before = clock.launcher_ns(kBegin);
  CHECK(clock.answer({query->sent_ns, launcher_ns(kBegin)}, kBegin) == nullptr);
  CHECK(clock.launcher_ns(kBegin) == before);
  CHECK_FALSE(clock.next_query(kBegin).has_value());
}

TEST_CASE("launcher clock: an answer that nothing asked for is refused, and any time is taken") {
  LauncherClock clock(false);
  CHECK(clock.answer({1, 2}, kBegin) != nullptr);
  for (const std::uint64_t time : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    clock.greet(time, kBegin);
    (void)clock.own_time(time);
    const auto query = clock.next_query(kBegin);
    REQUIRE(query.has_value());
    CHECK(clock.answer({query->sent_ns + 1, time}, kBegin) != nullptr);
    CHECK(clock.answer({query->sent_ns, time}, kBegin + milliseconds(5)) == nullptr);
    (void)clock.launcher_ns(kBegin);
    (void)clock.own_time(time);
  }
}

TEST_CASE("an agent of another machine sends times of the launcher's clock") {
  Driver launcher;
  launcher.any_host = true;
  launcher.greet();
  launcher.send(msg::StartHost{.host = 1,
                               .name = "n1",
                               .command = {WIREUP_AGENT, "link"},
                               .environment = {"PATH=/usr/bin:/bin"},
                               .timeout_ms = kTimeoutMs});
  launcher.expect<msg::Ready>();
  const auto now = [] { return runtime::to_ns(os::Reactor::Clock::now() + kAhead); };
  launcher.send_to(1, msg::Hello{.host = 1, .kvs_limit = 1 << 20, .sent_ns = now()});
  msg::Group group = Driver::group(0, 1);
  group.nodes = {{.host = 1}};
  // Round trips may be long on this machine, but the first answer is there before the rank is started.
  const auto query = launcher.expect<msg::ClockQuery>();
  const std::uint64_t answered = now();
  launcher.send_to(1, msg::ClockAnswer{query.sent_ns, answered});
  launcher.send_to(1, group);
  launcher.send_to(1, msg::Program{.args = {"true"}, .environment = {"PATH=/usr/bin:/bin"}});
  launcher.send_to(1, msg::Start{0, {{.rank = 0}}});
  const auto started = launcher.expect_beside<msg::Started, msg::ClockQuery, msg::GroupReady, msg::Events>();
  const auto exited = launcher.expect_beside<msg::Exited, msg::ClockQuery, msg::Events>();
  // The agent has sent the query before it was answered, so its error has this bound.
  const std::uint64_t bound = answered - (query.sent_ns + runtime::to_ns(TimePoint(kAhead)));
  CHECK(started.time_ns + bound >= answered);
  CHECK(exited.time_ns >= started.time_ns);
  CHECK(exited.time_ns <= now() + bound);
  launcher.finish();
}

}  // namespace
