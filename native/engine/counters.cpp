#include "engine/counters.h"

#include <algorithm>
#include <functional>

namespace wireup::engine {
namespace {

template <std::size_t Size>
void add_all(std::array<std::uint64_t, Size>& sums, const std::array<std::uint64_t, Size>& more) {
  std::ranges::transform(sums, more, sums.begin(), std::plus{});
}

}  // namespace

void Counters::add_barrier(std::uint64_t microseconds) {
  const auto bucket = std::ranges::lower_bound(kBarrierBuckets, microseconds);
  ++barriers[static_cast<std::size_t>(bucket - kBarrierBuckets.begin())];
  barrier_time += microseconds;
}

void Counters::add(const Counters& other) {
  add_all(requests, other.requests);
  add_all(refused, other.refused);
  invalid += other.invalid;
  received += other.received;
  sent += other.sent;
  add_all(barriers, other.barriers);
  barrier_time += other.barrier_time;
}

}  // namespace wireup::engine
