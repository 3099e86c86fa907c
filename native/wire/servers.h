// What clients must know about certain servers, and no message contains.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace wireup::wire {

// Servers that buffer further requests until they have replied to the first one, identified by the prefix of
// their kvsnames. RFC 13 does not require this. Slurm's server (its kvsnames are like "12.0") never replies
// to the second of two requests that arrive together (observed with Slurm 22.05).
inline constexpr std::array<std::string_view, 2> kBufferingServers{
    "wireup-",  // wireup's own
    "kvs_",     // Hydra: mpich src/pm/hydra, kvs_<pid>_<group>_<random>_<host>
};

constexpr bool buffers_requests(std::string_view kvsname) {
  return std::ranges::any_of(kBufferingServers,
                             [&](std::string_view prefix) { return kvsname.starts_with(prefix); });
}

}  // namespace wireup::wire
