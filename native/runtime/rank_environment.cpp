#include "runtime/rank_environment.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

namespace wireup::runtime {
namespace {

std::string_view name_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

std::string variable(std::string_view name, std::string_view value) {
  std::string result(name);
  result += '=';
  result += value;
  return result;
}

// PMI_RANK and PMI_SIZE are set beside PMI_PORT too: MPICH ignores them there, and some programs read them.
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
                                          std::string_view pmi_id) {
  auto result = common(place);
  result.push_back(variable("PMI_PORT", pmi_port));
  result.push_back(variable("PMI_ID", pmi_id));
  return result;
}

std::string host_environment(std::string_view host) {
  return variable("MPIR_CVAR_CH3_INTERFACE_HOSTNAME", host);
}

bool chooses_interface(const std::vector<std::string>& environment) {
  // MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE. MPICH also reads it with the prefixes MPIR_PARAM_ and MPICH_, and
  // each of the three without NEMESIS_TCP_.
  return std::ranges::any_of(environment, [](std::string_view variable) {
    const std::string_view name = name_of(variable);
    return name.starts_with("MPI") && name.ends_with("_NETWORK_IFACE");
  });
}

std::vector<std::string> merge_environment(const std::vector<std::string>& common,
                                           const std::vector<std::string>& own,
                                           const std::vector<std::string>& unset) {
  std::unordered_set<std::string_view> taken(unset.begin(), unset.end());
  for (const std::string& variable : own) taken.insert(name_of(variable));
  std::vector<std::string> merged;
  merged.reserve(common.size() + own.size());
  for (const std::string& variable : common) {
    if (!taken.contains(name_of(variable))) merged.push_back(variable);
  }
  merged.insert(merged.end(), own.begin(), own.end());
  return merged;
}

void add_default(std::vector<std::string>& environment, std::string variable) {
  const std::string_view name = name_of(variable);
  if (std::ranges::none_of(environment, [&](const std::string& other) { return name_of(other) == name; }))
    environment.push_back(std::move(variable));
}

std::string own_environment_block(const std::optional<std::vector<std::string>>& names) {
  std::string block;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    const std::string_view name = name_of(variable);
    if (is_stale_pmi_variable(name) || (names && std::ranges::count(*names, name) == 0)) continue;
    block.append(variable).push_back('\0');
  }
  return block;
}

std::vector<std::string> split_block(std::string_view block) {
  std::vector<std::string> variables;
  while (!block.empty()) {
    const std::size_t end = block.find('\0');
    variables.emplace_back(block.substr(0, end));
    block.remove_prefix(std::min(block.size(), end == std::string_view::npos ? end : end + 1));
  }
  return variables;
}

bool is_stale_pmi_variable(std::string_view name) {
  static constexpr std::array<std::string_view, 5> prefixes{"PMI_", "PMI2_", "PMIX_", "HYDI_", "MPI_LOCAL"};
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace wireup::runtime
