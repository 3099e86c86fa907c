// What clients must know of named servers: quirks that no message tells.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace wireup::wire {

// Servers that keep what comes behind a request until they have answered it, by the names that they give
// their key-value spaces. RFC 13 does not ask it of them, and Slurm's (whose spaces are called "12.0") never
// answers the second of two requests that come together (seen with Slurm 22.05).
inline constexpr std::array<std::string_view, 2> kBufferingServers{
    "wireup-",  // ours
    "kvs_",     // Hydra: mpich src/pm/hydra, kvs_<pid>_<group>_<random>_<host>
};

constexpr bool buffers_requests(std::string_view kvsname) {
  return std::ranges::any_of(kBufferingServers,
                             [&](std::string_view prefix) { return kvsname.starts_with(prefix); });
}

}  // namespace wireup::wire
