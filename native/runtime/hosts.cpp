#include "runtime/hosts.h"

#include <utility>

namespace wireup::runtime {

namespace agent = wire::agent;

namespace {

// An agent's own program, for an agent that starts others: the file that was staged for it has no name.
constexpr const char* kOwnProgram = "/proc/self/exe";

}  // namespace

Hosts::Hosts(AgentLink& link, std::vector<HostOptions> options, std::vector<std::string> environment,
             std::uint32_t width, std::optional<TogetherOptions> together)
    : link_(link), environment_(std::move(environment)), width_(width), together_(std::move(together)) {
  if (options.empty()) options.emplace_back();
  for (HostOptions& host : options) hosts_.push_back({std::move(host)});
  hosts_[agent::kOwnHost].asked = true;
  hosts_[agent::kOwnHost].ready = true;
}

void Hosts::start(const std::set<std::uint32_t>& hosts, const std::function<void(std::uint32_t)>& greet) {
  std::size_t greeted = asked_.size();
  for (const std::uint32_t host : hosts) {
    if (std::exchange(hosts_[host].asked, true)) continue;
    std::size_t parent = width_ == 0 ? 0 : (asked_.size() - 1) / width_;
    // A lost host starts none: the next one above it does that. The launcher's own host is never lost.
    while (hosts_[asked_[parent]].lost) parent = (parent - 1) / width_;
    hosts_[host].parent = asked_[parent];
    // Requests to one agent follow each other as long as possible, so that it starts the commands at once.
    if (parent >= greeted) {
      while (greeted < asked_.size()) greet(asked_[greeted++]);
    }
    asked_.push_back(host);
    ask(host, together_.has_value());
  }
  while (greeted < asked_.size()) greet(asked_[greeted++]);
  // Last, so that each parent knows its children when they join.
  if (together_ && asked_.size() > 1) start_together();
}

void Hosts::start_together() {
  together_hosts_.assign(asked_.begin() + 1, asked_.end());
  agent::StartTogether start{.command = std::move(together_->command),
                             .environment = environment_,
                             .hosts = together_hosts_,
                             .width = width_,
                             .iface = std::move(together_->iface),
                             .insecure = together_->insecure};
  for (const std::uint32_t host : together_hosts_) start.names.push_back(name(host));
  together_.reset();
  link_.send(agent::kOwnHost, start);
}

bool Hosts::start_singly() {
  const std::vector<std::uint32_t> hosts = std::exchange(together_hosts_, {});
  for (const std::uint32_t host : hosts) {
    if (!hosts_[host].lost) ask(host, false);
  }
  return !hosts.empty();
}

void Hosts::ask(std::uint32_t host, bool joins) {
  const HostOptions& options = hosts_[host].options;
  const std::uint32_t parent = hosts_[host].parent;
  link_.send(parent,
             agent::StartHost{
                 .host = host,
                 .name = options.name,
                 .command = joins ? std::vector<std::string>() : options.command,
                 .environment = joins ? std::vector<std::string>() : environment_,
                 .stage = options.stage.empty() || parent == agent::kOwnHost ? options.stage : kOwnProgram,
                 .timeout_ms = options.timeout_ms,
                 .same_host = options.same_host,
                 .joins = joins});
}

std::vector<std::string> Hosts::names(const std::vector<std::uint32_t>& hosts) const {
  std::vector<std::string> result;
  result.reserve(hosts.size());
  for (const std::uint32_t host : hosts) result.push_back(name(host));
  return result;
}

std::vector<std::uint32_t> Hosts::unanswered() const {
  std::vector<std::uint32_t> result;
  for (const std::uint32_t host : asked_) {
    if (!hosts_[host].ready && !hosts_[host].lost) result.push_back(host);
  }
  return result;
}

bool Hosts::ready(std::uint32_t host, const agent::Ready& ready) {
  Host& entry = hosts_[host];
  if (entry.pid != 0 || ready.pid <= 0) return false;
  entry.pid = ready.pid;
  entry.ready = true;
  if (entry.options.name.empty()) entry.options.name = ready.host;
  return true;
}

bool Hosts::asks_for_time(std::uint32_t host) {
  return ++hosts_[host].clock_queries <= agent::kMaxClockQueries;
}

bool Hosts::lose(std::uint32_t host) {
  if (host == agent::kOwnHost || !is_there(host)) return false;
  hosts_[host].lost = true;
  return true;
}

bool Hosts::is_at_or_above(std::uint32_t host, std::uint32_t other) const {
  while (other != host && other != agent::kOwnHost) other = parent(other);
  return other == host;
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
