// The environment by which a rank finds its server. (PMI_SPAWNED is set by who answers a spawn: lib/spawn.ts,
// lib/server.ts.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::runtime {

// The number a rank sees its channel under. Node marks the first 16 fds that it inherits as close-on-exec
// (uv_disable_stdio_inheritance), and the next ones up to a gap: behind a gap the channel reaches a rank that
// is started by npx or another Node program.
inline constexpr int kChannelFd = 20;

struct RankPlace {
  std::uint32_t rank = 0;
  std::uint32_t size = 1;
  std::uint32_t local_rank = 0;
  std::uint32_t local_size = 1;
};

// "NAME=value" for a rank that inherits its channel as `fd`.
std::vector<std::string> channel_environment(const RankPlace& place, int fd);

// "NAME=value" for a rank that connects to `pmi_port` and says `pmi_id`.
std::vector<std::string> port_environment(const RankPlace& place, std::string_view pmi_port,
                                          std::string_view pmi_id);

// By which MPICH names the interface of a rank on that host, as Hydra sets it.
std::string host_environment(std::string_view host);

// `common` without the variables that `own` sets or `unset` names, and then `own`: getenv() takes the first
// of two.
std::vector<std::string> merge_environment(const std::vector<std::string>& common,
                                           const std::vector<std::string>& own,
                                           const std::vector<std::string>& unset = {});

// The environment of this process without what another process manager left behind, each variable with a NUL
// behind it; of the variables that are named, or of all. Threads: one that no other changes the environment
// beside.
std::string own_environment_block(const std::optional<std::vector<std::string>>& names);
// The variables of such a block.
std::vector<std::string> split_block(std::string_view block);

// True for a variable that another process manager left behind and that a rank must not see: a stale PMI_FD
// beside PMI_PORT makes MPICH use the dead fd, a stale PMI_SPAWNED=1 aborts MPI_Init.
bool is_stale_pmi_variable(std::string_view name);

}  // namespace wireup::runtime
