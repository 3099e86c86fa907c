// The environment variables by which a rank finds its PMI server. (lib/spawn.ts and lib/server.ts set
// PMI_SPAWNED.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::runtime {

// The number of a rank's channel in the rank. Node marks the first 16 fds that it inherits as close-on-exec
// (uv_disable_stdio_inheritance), and those after them up to the first number that is not open. So the
// channel reaches a rank that npx or another Node program starts only if a lower number above 15 is not open.
inline constexpr int kChannelFd = 20;

struct RankPlace {
  std::uint32_t rank = 0;
  std::uint32_t size = 1;
  std::uint32_t local_rank = 0;
  std::uint32_t local_size = 1;
};

// "NAME=value" for a rank that inherits its channel as `fd`.
std::vector<std::string> channel_environment(const RankPlace& place, int fd);

// "NAME=value" for a rank that connects to `pmi_port` and sends `pmi_id`.
std::vector<std::string> port_environment(const RankPlace& place, std::string_view pmi_port,
                                          std::string_view pmi_id);

// The variable by which MPICH chooses the network interface of a rank on that host. Hydra sets it too.
std::string host_environment(std::string_view host);

// Whether a variable names the network interface that MPICH uses. MPI_Init fails if that of
// host_environment() is set beside it.
bool chooses_interface(const std::vector<std::string>& environment);

// `common` without the variables that `own` sets or `unset` names, followed by `own`. No variable is there
// twice, because getenv() would return the first one.
std::vector<std::string> merge_environment(const std::vector<std::string>& common,
                                           const std::vector<std::string>& own,
                                           const std::vector<std::string>& unset = {});

// Adds the variable, "NAME=value", unless the environment has one of that name.
void add_default(std::vector<std::string>& environment, std::string variable);

// The environment of this process without stale PMI variables, as one block in which a NUL follows each
// variable. With `names`, only these variables. No other thread may change the environment meanwhile.
std::string own_environment_block(const std::optional<std::vector<std::string>>& names);
// The variables of such a block.
std::vector<std::string> split_block(std::string_view block);

// Whether another process manager has set the variable, so that a rank must not inherit it: with a stale
// PMI_FD beside PMI_PORT, MPICH uses the dead fd; a stale PMI_SPAWNED=1 aborts MPI_Init.
bool is_stale_pmi_variable(std::string_view name);

}  // namespace wireup::runtime
