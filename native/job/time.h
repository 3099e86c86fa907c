// Time as the engine knows it: an input.
#pragma once

#include <chrono>

namespace wireup::job {

using TimePoint = std::chrono::steady_clock::time_point;

}  // namespace wireup::job
