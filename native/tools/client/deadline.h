// A point in time, and how long it is until then.
#pragma once

#include <algorithm>
#include <chrono>

namespace wireup::client {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Deadline(Clock::duration total) : at_(Clock::now() + total) {}

  int left_ms() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - Clock::now());
    return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
  }

  Clock::time_point at() const { return at_; }

 private:
  Clock::time_point at_;
};

}  // namespace wireup::client
