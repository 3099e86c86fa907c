#include "runtime/heartbeats.h"

#include <algorithm>
#include <utility>

#include "runtime/words.h"

namespace wireup::runtime {

std::string silence_in_words(const LinkTiming& timing) { return "no sign for " + in_words(timing.silence); }

void Heartbeats::watch() {
  if (timing_.silence == std::chrono::milliseconds::zero()) return;
  received();
  check_later();
}

void Heartbeats::start() { beat(); }

void Heartbeats::stop() {
  lifetime_.end();
  reactor_.cancel(std::exchange(silence_timer_, 0));
  reactor_.cancel(std::exchange(heartbeat_timer_, 0));
}

void Heartbeats::hold(bool on) {
  held_ = on;
  received();
}

// Checks at each heartbeat, so that a check shows by its delay how long this process did not run.
void Heartbeats::check_later() {
  reactor_.cancel(silence_timer_);
  const auto due = std::min(last_received_ + timing_.silence, Clock::now() + timing_.heartbeat);
  silence_timer_ = reactor_.at(due, [this, due] {
    silence_timer_ = 0;
    check(due);
  });
}

void Heartbeats::check(Clock::time_point due) {
  const auto now = Clock::now();
  const auto delay = now - due;
  if (held_) {
    last_received_ = now;
  } else if (delay > timing_.heartbeat) {
    // All processes of the job may have been stopped, so that the peer could not send. The time in which this
    // process did not run does not count.
    last_received_ = std::min(last_received_ + delay, now);
  } else if (now >= last_received_ + timing_.silence) {
    const os::Lifetime::Watch watch(lifetime_);
    observer_.receive_now();
    if (watch.gone()) return;
    if (now >= last_received_ + timing_.silence) return observer_.on_silence();
  }
  check_later();
}

void Heartbeats::beat() {
  const auto now = Clock::now();
  if (now >= last_sent_ + timing_.heartbeat) observer_.on_heartbeat_due();
  const auto next = std::max(last_sent_, now - timing_.heartbeat / 2) + timing_.heartbeat;
  heartbeat_timer_ = reactor_.at(next, [this] {
    heartbeat_timer_ = 0;
    beat();
  });
}

}  // namespace wireup::runtime
