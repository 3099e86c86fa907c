#include "tools/agent/reports.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/engine_messages.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;
using Clock = os::Reactor::Clock;
using std::chrono::milliseconds;

// Events of ranks that run a tight loop of barriers cost two hundred messages a second then. All hosts of a
// job, which report the same moments of their ranks at the same time, together send a thousand a second,
// because all pass the root, until the interval is the longest one: people and programs that follow the
// events of a job should not have to wait longer.
constexpr milliseconds kBatchInterval{5};
constexpr milliseconds kIntervalOfHost{1};
constexpr milliseconds kMaxBatchInterval{200};
constexpr std::size_t kMaxBatch = 256;
// Interval at which the agent checks whether the launcher is still slow.
constexpr milliseconds kSlowCheck{50};
// The launcher is slow if it has so many bytes to read.
constexpr std::size_t kMaxUnsent = 1 << 20;

// The launcher decides by these what becomes of the job.
bool is_urgent(const engine::Event& event) {
  return event.type == engine::EventType::aborted || event.type == engine::EventType::stuck ||
         (event.type == engine::EventType::disconnected && event.lost);
}

}  // namespace

Reports::Reports(os::Reactor& reactor, Router& router, const LauncherClock& clock)
    : reactor_(reactor), router_(router), clock_(clock), interval_(kBatchInterval) {}

Reports::~Reports() { reactor_.cancel(timer_); }

void Reports::spans(std::size_t hosts) {
  const auto wanted = kIntervalOfHost * static_cast<std::int64_t>(hosts);
  interval_ = std::max(interval_, std::min(wanted, kMaxBatchInterval));
}

void Reports::send(const Message& message) {
  if (stopped_) return;
  flush();
  router_.send(message);
}

void Reports::event(std::uint32_t group, const engine::Event& event) {
  if (stopped_) return;
  if (engine::is_repeatable(event) && slow()) {
    flush();
    ++missed_[static_cast<std::size_t>(event.type)];
    any_missed_ = true;
    return flush_at(Clock::now() + kSlowCheck);
  }
  if (any_missed_) report_missed();
  if (batch_.empty() || batch_.back().group != group) batch_.push_back({group, {}});
  const Clock::time_point now = Clock::now();
  batch_.back().events.push_back(runtime::to_message(event));
  batch_.back().events.back().time_ns = clock_.launcher_ns(now);
  if (++waiting_ >= kMaxBatch || is_urgent(event)) return flush();
  flush_at(std::max(now, last_batch_ + interval_));
}

void Reports::flush_at(Clock::time_point when) {
  if (timer_ != 0) return;
  timer_ = reactor_.at(when, [this] {
    timer_ = 0;
    flush();
    report_missed();
    if (any_missed_) flush_at(Clock::now() + kSlowCheck);
  });
}

void Reports::flush() {
  if (batch_.empty()) return;
  last_batch_ = Clock::now();
  for (Events& events : std::exchange(batch_, {})) router_.send(std::move(events));
  waiting_ = 0;
}

void Reports::report_missed() {
  if (!any_missed_ || slow()) return;
  flush();
  for (std::size_t type = 0; type < missed_.size(); ++type) {
    if (missed_[type] == 0) continue;
    router_.send(EventsMissed{static_cast<std::uint8_t>(type), std::exchange(missed_[type], 0)});
  }
  any_missed_ = false;
}

bool Reports::slow() const { return router_.unsent() > kMaxUnsent; }

void Reports::stop() {
  stopped_ = true;
  reactor_.cancel(std::exchange(timer_, 0));
  batch_.clear();
}

}  // namespace wireup::agent
