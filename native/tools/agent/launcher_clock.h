// The launcher's clock, as this host knows it: its own clock plus an offset; see wire/agent_messages.h.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <optional>

#include "os/reactor.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class LauncherClock {
 public:
  using TimePoint = os::Reactor::Clock::time_point;
  using Duration = os::Reactor::Clock::duration;

  // `same`: the launcher runs on this machine, so both have the same clock.
  explicit LauncherClock(bool same) : fixed_(same) {}

  // Until the first answer, the launcher's time is assumed to be the one at which it has sent its Hello. Only
  // peers that are no ranks can connect so early.
  void greet(std::uint64_t sent_ns, TimePoint now);
  // The query to send after Hello and after each answer; empty: the offset is known well enough.
  std::optional<wire::agent::ClockQuery> next_query(TimePoint now);
  // Returns what is wrong with the message, or nullptr.
  const char* answer(const wire::agent::ClockAnswer& answer, TimePoint now);
  // From now on the offset stays as it is, so that the times of ranks are exact to each other.
  void fix() { fixed_ = true; }

  // The launcher's time in nanoseconds at `time` of this host's clock, and the reverse.
  std::uint64_t launcher_ns(TimePoint time) const;
  TimePoint own_time(std::uint64_t launcher_ns) const;

 private:
  bool fixed_;
  Duration offset_{};
  std::optional<Duration> round_trip_;  // of the best answer
  std::optional<std::uint64_t> asked_;  // ClockQuery::sent_ns of the query that is not answered yet
  std::uint32_t queries_ = 0;
};

}  // namespace wireup::agent
