// What a PMI server counts, for metrics: the sums since it was made.
//
// It always counts, because that costs a request less than a hundredth of its instructions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/messages.h"

namespace wireup::engine {

// Why a connection was refused. The names are labels of metrics, see docs/metrics.md.
enum class Refusal : std::uint8_t {
  peer,       // its user or its host is not allowed, or not known
  locked,     // its host has sent too many wrong PMI_IDs
  pmi_id,     // its PMI_ID is not that of a rank, or has been used
  connected,  // its rank has a connection
  descent,    // it is not the rank's process
  protocol,   // its first message is not a valid initack
  timeout,    // it has not identified itself in time
  evicted,    // it had to make way for a newer connection
  system,     // the system has no room for it
  link,       // it is not that of a host below this one (runtime/zmq_hub.h)
};
inline constexpr std::array<std::string_view, 10> kRefusals{
    "peer", "locked", "pmi_id", "connected", "descent", "protocol", "timeout", "evicted", "system", "link",
};
static_assert(kRefusals.size() == static_cast<std::size_t>(Refusal::link) + 1);

// The upper ends of the buckets of barrier times, in microseconds. A barrier of ranks that wait already takes
// some microseconds, and one that a slow node holds up takes minutes.
inline constexpr std::array<std::uint64_t, 16> kBarrierBuckets{
    100,     500,       1'000,      5'000,      10'000,     50'000,      100'000,     500'000,
    1000000, 5'000'000, 10'000'000, 30'000'000, 60'000'000, 300'000'000, 600'000'000, 3'600'000'000,
};

struct Counters {
  // By MessageId. Unknown commands count as MessageId::unknown_result.
  std::array<std::uint64_t, wire::kMessages.size()> requests{};
  std::array<std::uint64_t, kRefusals.size()> refused{};  // by Refusal
  std::uint64_t invalid = 0;                              // requests that were reported as protocol errors
  std::uint64_t received = 0;                             // bytes
  std::uint64_t sent = 0;                                 // bytes
  // How long barriers of all ranks took, from the first rank that entered until the release. Not cumulative;
  // the last bucket has all that took longer.
  std::array<std::uint64_t, kBarrierBuckets.size() + 1> barriers{};
  std::uint64_t barrier_time = 0;  // their sum, in microseconds

  void count(const wire::MessageSpec* spec) {
    ++requests[static_cast<std::size_t>(spec == nullptr ? wire::MessageId::unknown_result : spec->id)];
  }
  void count(Refusal refusal) { ++refused[static_cast<std::size_t>(refusal)]; }
  void add_barrier(std::uint64_t microseconds);
  // Adds those of another server.
  void add(const Counters& other);
};

}  // namespace wireup::engine
