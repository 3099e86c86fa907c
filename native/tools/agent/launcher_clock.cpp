#include "tools/agent/launcher_clock.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace wireup::agent {

using namespace wire::agent;

namespace {

using std::chrono::nanoseconds;

// A shorter round trip needs no better one: the error is half of it, and what ranks do takes longer.
constexpr std::chrono::milliseconds kGoodRoundTrip{1};

// No clock has run for so long. It keeps sums of a few times in range.
constexpr std::uint64_t kMaxTime = std::numeric_limits<std::int64_t>::max() / 8;

nanoseconds to_duration(std::uint64_t ns) {
  return nanoseconds(static_cast<std::int64_t>(std::min(ns, kMaxTime)));
}

}  // namespace

void LauncherClock::greet(std::uint64_t sent_ns, TimePoint now) {
  if (!fixed_) offset_ = to_duration(sent_ns) - now.time_since_epoch();
}

std::optional<ClockQuery> LauncherClock::next_query(TimePoint now) {
  if (fixed_ || asked_ || queries_ >= kMaxClockQueries) return std::nullopt;
  if (round_trip_ && *round_trip_ <= kGoodRoundTrip) return std::nullopt;
  ++queries_;
  asked_ = static_cast<std::uint64_t>(nanoseconds(now.time_since_epoch()).count());
  return ClockQuery{*asked_};
}

const char* LauncherClock::answer(const ClockAnswer& answer, TimePoint now) {
  if (!asked_ || *asked_ != answer.sent_ns) return "is the answer to another query";
  const nanoseconds sent = to_duration(*std::exchange(asked_, std::nullopt));
  const nanoseconds round_trip = now.time_since_epoch() - sent;
  if (fixed_ || (round_trip_ && *round_trip_ <= round_trip)) return nullptr;
  round_trip_ = round_trip;
  offset_ = to_duration(answer.now_ns) - sent - round_trip / 2;
  return nullptr;
}

std::uint64_t LauncherClock::launcher_ns(TimePoint time) const {
  const nanoseconds sum = time.time_since_epoch() + offset_;
  return static_cast<std::uint64_t>(std::max(sum, nanoseconds::zero()).count());
}

LauncherClock::TimePoint LauncherClock::own_time(std::uint64_t launcher_ns) const {
  return TimePoint(to_duration(launcher_ns) - offset_);
}

}  // namespace wireup::agent
