// The engine reads no clock. Time is an input.
#pragma once

#include <chrono>

namespace wireup::engine {

using TimePoint = std::chrono::steady_clock::time_point;

}  // namespace wireup::engine
