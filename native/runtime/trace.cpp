#include "runtime/trace.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/nanoseconds.h"

namespace wireup::runtime {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The receiver gets lines in parts of about this size, and a part that is smaller after the interval.
constexpr std::size_t kTracePart = 60 << 10;
constexpr milliseconds kTraceInterval{10};
// Interval at which it is checked whether the receiver is still slow.
constexpr milliseconds kSlowTraceCheck{50};

}  // namespace

Trace::Trace(os::Reactor& reactor, const wire::agent::TracePlan& plan, std::string host,
             TraceReceiver receiver)
    : reactor_(reactor),
      plan_(plan),
      form_(plan.json ? wire::RecordForm::json : wire::RecordForm::text),
      host_(std::move(host)),
      receiver_(std::move(receiver)),
      start_(to_time_point(plan.start_ns)) {}

Trace::~Trace() { reactor_.cancel(timer_); }

std::uint64_t Trace::now() const {
  const auto time = std::chrono::duration_cast<microseconds>(os::Reactor::Clock::now() - start_).count();
  // The offset of another host's clock is not exact.
  return time < 0 ? 0 : static_cast<std::uint64_t>(time);
}

bool Trace::admit(wire::RecordHead& head) {
  const auto has = [&](const std::pair<std::uint32_t, std::uint32_t>& range) {
    return *head.rank >= range.first && *head.rank <= range.second;
  };
  if (head.rank && !plan_.ranks.empty() && std::ranges::none_of(plan_.ranks, has)) return false;
  head.host = host_;
  if (waiting_ + open_.lines.size() >= kMaxTraceBuffer) {
    ++dropped_;
    return false;
  }
  if (dropped_ > 0) {
    wire::append_record(open_.lines, form_, {.time = head.time, .host = host_},
                        wire::RecordedEvent{.event = "dropped", .count = dropped_});
    open_.dropped += std::exchange(dropped_, 0);
  }
  return true;
}

void Trace::message(wire::RecordHead head, wire::Side side, const wire::CutMessage& message, bool masked) {
  if (!admit(head)) return;
  wire::append_record(open_.lines, form_, head, side, message, masked);
  added();
}

void Trace::event(wire::RecordHead head, const wire::RecordedEvent& event) {
  if (!admit(head)) return;
  wire::append_record(open_.lines, form_, head, event);
  added();
}

void Trace::added() {
  ++open_.records;
  if (open_.lines.size() >= kTracePart) {
    close_open();
    pass_on();
  }
  if (timer_ == 0) arm(kTraceInterval);
}

void Trace::arm(os::Reactor::Clock::duration delay) {
  timer_ = reactor_.after(delay, [this] {
    timer_ = 0;
    close_open();
    pass_on();
    if (!full_.empty()) arm(kSlowTraceCheck);
  });
}

void Trace::close_open() {
  if (open_.lines.empty()) return;
  waiting_ += open_.lines.size();
  full_.push_back(std::exchange(open_, {}));
}

void Trace::pass_on() {
  while (!full_.empty() && !receiver_.is_slow()) {
    TraceLines next = std::move(full_.front());
    full_.pop_front();
    waiting_ -= next.lines.size();
    receiver_.take(std::move(next));
  }
}

void Trace::finish() {
  reactor_.cancel(std::exchange(timer_, 0));
  if (dropped_ > 0) {
    wire::append_record(open_.lines, form_, {.time = now(), .host = host_},
                        wire::RecordedEvent{.event = "dropped", .count = dropped_});
    open_.dropped += std::exchange(dropped_, 0);
  }
  close_open();
  for (TraceLines& lines : std::exchange(full_, {})) receiver_.take(std::move(lines));
  waiting_ = 0;
}

}  // namespace wireup::runtime
