// Times of this process's clock in messages; see wire/agent_messages.h.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "os/reactor.h"

namespace wireup::runtime {

inline std::uint64_t to_ns(os::Reactor::Clock::time_point time) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
}

// The message may have any value: a larger one than the clock can have becomes the largest.
inline os::Reactor::Clock::time_point to_time_point(std::uint64_t ns) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  return os::Reactor::Clock::time_point(
      std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(ns, kMax))));
}

}  // namespace wireup::runtime
