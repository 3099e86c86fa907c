#include "runtime/hosts.h"

#include <utility>

namespace wireup::runtime {

namespace agent = wire::agent;

Hosts::Hosts(AgentLink& link, std::vector<HostOptions> options, std::vector<std::string> environment)
    : link_(link), environment_(std::move(environment)) {
  if (options.empty()) options.emplace_back();
  for (HostOptions& host : options) hosts_.push_back({std::move(host)});
  hosts_[agent::kOwnHost].asked = true;
  hosts_[agent::kOwnHost].ready = true;
}

std::vector<std::uint32_t> Hosts::start(const std::set<std::uint32_t>& hosts) {
  std::vector<std::uint32_t> started;
  for (const std::uint32_t host : hosts) {
    if (std::exchange(hosts_[host].asked, true)) continue;
    started.push_back(host);
    const HostOptions& options = hosts_[host].options;
    link_.send(agent::kOwnHost, agent::StartHost{.host = host,
                                                 .name = options.name,
                                                 .command = options.command,
                                                 .environment = environment_,
                                                 .stage = options.stage,
                                                 .timeout_ms = options.timeout_ms,
                                                 .same_host = options.same_host});
  }
  return started;
}

bool Hosts::ready(std::uint32_t host, const agent::Ready& ready) {
  Host& entry = hosts_[host];
  if (entry.pid != 0 || ready.pid <= 0) return false;
  entry.pid = ready.pid;
  entry.ready = true;
  if (entry.options.name.empty()) entry.options.name = ready.host;
  return true;
}

bool Hosts::lose(std::uint32_t host) {
  if (host == agent::kOwnHost || !is_there(host)) return false;
  hosts_[host].lost = true;
  return true;
}

std::set<std::uint32_t> Hosts::ready_ones() const {
  std::set<std::uint32_t> result;
  for (std::uint32_t host = 0; host < count(); ++host) {
    if (is_there(host) && hosts_[host].ready) result.insert(host);
  }
  return result;
}

void Hosts::send(std::uint32_t host, const agent::Message& message, std::vector<os::UniqueFd> fds) {
  if (is_there(host)) link_.send(host, message, std::move(fds));
}

void Hosts::send_to_all(const agent::Message& message) {
  for (std::uint32_t host = 0; host < count(); ++host) send(host, message);
}

}  // namespace wireup::runtime
