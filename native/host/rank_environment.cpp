#include "host/rank_environment.h"

#include <algorithm>
#include <array>

namespace wireup::host {
namespace {

std::string variable(std::string_view name, std::string_view value) {
  std::string result(name);
  result += '=';
  result += value;
  return result;
}

// PMI_RANK and PMI_SIZE are set beside PMI_PORT too: MPICH takes no harm, and programs look at them.
std::vector<std::string> common(const RankPlace& place) {
  return {
      variable("PMI_RANK", std::to_string(place.rank)),
      variable("PMI_SIZE", std::to_string(place.size)),
      variable("MPI_LOCALRANKID", std::to_string(place.local_rank)),
      variable("MPI_LOCALNRANKS", std::to_string(place.local_size)),
  };
}

}  // namespace

std::vector<std::string> channel_environment(const RankPlace& place, int fd) {
  auto result = common(place);
  result.push_back(variable("PMI_FD", std::to_string(fd)));
  return result;
}

std::vector<std::string> port_environment(const RankPlace& place, std::string_view pmi_port,
                                          std::string_view token) {
  auto result = common(place);
  result.push_back(variable("PMI_PORT", pmi_port));
  result.push_back(variable("PMI_ID", token));
  return result;
}

std::string host_environment(std::string_view host) { return variable("MPIR_CVAR_CH3_INTERFACE_HOSTNAME", host); }

bool is_stale_pmi_variable(std::string_view name) {
  static constexpr std::array<std::string_view, 5> prefixes{"PMI_", "PMI2_", "PMIX_", "HYDI_", "MPI_LOCAL"};
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace wireup::host
