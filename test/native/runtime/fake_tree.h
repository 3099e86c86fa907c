// A launch whose agents the test plays: it receives the launcher's messages for all hosts, and sends theirs.
// The agent's process only passes the messages on (stub_agent.cpp).
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/socket_address.h"
#include "os/support.h"
#include "runtime/launch_driver.h"
#include "runtime/local_link.h"
#include "runtime/nanoseconds.h"

namespace wireup::runtime::fakes {

namespace agent = wire::agent;

// Ranks in the order of hosts: `counts[h]` of them on host h, each host a node.
inline GroupOptions group_on(std::string kvsname, const std::vector<std::uint32_t>& counts) {
  GroupOptions options;
  std::vector<engine::Place> places;
  for (std::uint32_t host = 0; host < counts.size(); ++host) {
    if (counts[host] == 0) continue;
    const auto node = static_cast<std::uint32_t>(options.group.nodes.size());
    options.group.nodes.push_back({.host = host, .number = node});
    places.insert(places.end(), counts[host], {node, 0});
  }
  options.layout = engine::Layout(std::move(places));
  options.group.kvsname = std::move(kvsname);
  agent::Program program;
  program.args = {"program"};
  options.programs = {program};
  return options;
}

// A launch over as many hosts as `counts` has.
inline LaunchOptions launch_on(const std::vector<std::uint32_t>& counts) {
  LaunchOptions options;
  options.group = group_on("first", counts);
  for (std::size_t host = 0; host < counts.size(); ++host)
    options.hosts.push_back({.name = "n" + std::to_string(host), .command = {"start", std::to_string(host)}});
  return options;
}

using Ranks = std::vector<std::uint32_t>;

inline agent::Exited exited(std::uint32_t task, std::int32_t code = 0) {
  agent::Exited message{.task = task};
  message.value = code;
  return message;
}

inline agent::Exited ended(std::uint32_t task) {
  return {.task = task, .signaled = true, .value = 15, .ended = true};
}

inline agent::GroupStatus status_of(std::uint32_t group, std::vector<std::uint8_t> ranks,
                                    std::uint64_t barrier, Ranks inside) {
  agent::GroupStatus status;
  status.group = group;
  status.ranks = std::move(ranks);
  status.barrier = barrier;
  status.inside = std::move(inside);
  return status;
}

class FakeTree final : public NoticeSink, LinkObserver {
  std::optional<os::Reactor> own_reactor_;

 public:
  // What a launch uses and most do without. Without a reactor the tree has its own.
  struct Parts {
    os::Reactor* reactor = nullptr;
    NameClient* names = nullptr;
    os::UniqueFd singleton = {};
  };

  explicit FakeTree(LaunchOptions options) : FakeTree(std::move(options), Parts()) {}
  FakeTree(LaunchOptions options, Parts parts)
      : reactor(parts.reactor == nullptr ? own_reactor_.emplace() : *parts.reactor) {
    static int number = 0;
    const std::string name = "wireup-tree-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
    const os::SocketAddress address = os::SocketAddress::unix_abstract(name);
    const os::UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener.get(), address.raw(), address.size()) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    options.agent.path = WIREUP_STUB_AGENT;
    options.agent.environment = {"WIREUP_STUB_SOCKET=" + name};
    driver_ = std::make_unique<LaunchDriver>(LaunchDriver::Parts{.reactor = reactor,
                                                                 .reaper = reaper_,
                                                                 .sink = *this,
                                                                 .handle = 1,
                                                                 .names = parts.names,
                                                                 .singleton = std::move(parts.singleton)},
                                             std::move(options),
                                             [this] { reactor.post([this] { driver_.reset(); }); });
    os::UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(connection);
    link_.emplace(reactor, std::move(connection), static_cast<LinkObserver&>(*this));
  }
  ~FakeTree() override {
    link_.reset();
    driver_.reset();
    os::test::run_until(reactor, [this] { return reaper_.idle(); });
  }

  LaunchDriver& driver() { return *driver_; }
  // The agents of all hosts: sends what the launch waits for until all ranks have been asked for, and then
  // reports them as started.
  void start(const std::vector<std::uint32_t>& counts) {
    for (std::uint32_t host = 0; host < counts.size(); ++host) ready(host);
    for (std::uint32_t host = 0; host < counts.size(); ++host) {
      if (counts[host] > 0) send(host, agent::GroupReady{0});
    }
    std::uint32_t task = 0;
    for (std::uint32_t host = 0; host < counts.size(); ++host) {
      if (counts[host] == 0) continue;
      expect<agent::Start>(host);
      for (std::uint32_t i = 0; i < counts[host]; ++i) started(host, task++);
    }
    settle();
  }
  static std::uint64_t now_ns() { return to_ns(os::Reactor::Clock::now()); }
  void ready(std::uint32_t host) {
    send(host, agent::Ready{.pid = 100 + static_cast<std::int32_t>(host), .host = "kernel"});
  }
  void started(std::uint32_t host, std::uint32_t task) {
    send(host, agent::Started{task, 1000 + static_cast<std::int32_t>(task), {}, now_ns()});
  }
  void event(std::uint32_t host, engine::EventType type, std::int32_t rank, std::uint64_t barrier = 0,
             std::uint32_t group = 0) {
    agent::EventRecord record{.type = static_cast<std::uint8_t>(type), .rank = rank};
    record.barrier = barrier;
    record.time_ns = now_ns();
    send(host, agent::Events{group, {record}});
  }
  // All ranks exit with 0 in the way that ends a job, and the agent ends.
  void finish() {
    send(agent::kOwnHost, agent::Done{});
    link_.reset();
  }
  const LaunchResult& result() {
    os::test::run_until(reactor, [this] { return driver_ == nullptr; });
    REQUIRE(result_);
    return *result_;
  }
  void wait_for_end() {
    os::test::run_until(reactor, [this] { return driver_ == nullptr; });
  }
  bool has_result() const { return result_.has_value(); }

  void send(std::uint32_t host, agent::Message message) { link_->send(agent::encode(host, message)); }

  // Waits for the first message of that kind to the host, and takes it.
  template <typename T>
  T expect(std::uint32_t host) {
    std::optional<T> found;
    os::test::run_until(reactor, [&] {
      if (!found) found = take<T>(host);
      return found.has_value();
    });
    return *std::move(found);
  }
  // Takes a message that has been received.
  template <typename T>
  std::optional<T> take(std::uint32_t host) {
    for (auto entry = received_.begin(); entry != received_.end(); ++entry) {
      auto* message = std::get_if<T>(&entry->message);
      if (entry->host != host || message == nullptr) continue;
      std::optional<T> result(std::move(*message));
      fds = std::move(entry->fds);
      received_.erase(entry);
      return result;
    }
    return std::nullopt;
  }
  // The kinds of the messages to the host that have been received and not taken, in their order.
  std::vector<std::uint8_t> kinds_to(std::uint32_t host) const {
    std::vector<std::uint8_t> kinds;
    for (const Received& entry : received_) {
      if (entry.host == host) kinds.push_back(static_cast<std::uint8_t>(entry.message.index()));
    }
    return kinds;
  }
  // All messages of the test have been handled, and what that led to has been received.
  void settle() {
    send(agent::kOwnHost, agent::Printed{});
    notice<RanksPrinted>();
    const std::string line = "line " + std::to_string(++lines_);
    driver_->show_status(line);
    while (expect<agent::Status>(agent::kOwnHost).line != line) {
    }
  }

  // Waits for the first notice of that kind, and takes it.
  template <typename T>
  std::pair<T, std::uint32_t> notice_of() {
    std::optional<std::pair<T, std::uint32_t>> found;
    os::test::run_until(reactor, [&] {
      if (!found) found = take_notice<T>();
      return found.has_value();
    });
    return *std::move(found);
  }
  template <typename T>
  T notice() {
    return notice_of<T>().first;
  }
  template <typename T>
  std::optional<std::pair<T, std::uint32_t>> take_notice() {
    for (auto entry = notices_.begin(); entry != notices_.end(); ++entry) {
      auto* payload = as<T>(entry->payload);
      if (payload == nullptr) continue;
      std::pair<T, std::uint32_t> result(std::move(*payload), entry->group);
      when = entry->when;
      notices_.erase(entry);
      return result;
    }
    return std::nullopt;
  }

  os::Reactor& reactor;
  std::vector<os::UniqueFd> fds;  // of the message that was taken last
  When when;                      // of the notice that was taken last

 private:
  struct Recorded {
    Payload payload;
    std::uint32_t group;
    When when;
  };
  struct Received {
    std::uint32_t host;
    agent::Message message;
    std::vector<os::UniqueFd> fds;
  };

  void notify(Handle, Payload payload, std::uint32_t group, When when) override {
    CHECK_FALSE(result_);
    if (auto* result = as<LaunchResult>(payload)) {
      result_ = std::move(*result);
    } else {
      notices_.push_back({std::move(payload), group, when});
    }
  }
  void tell(Handle, const engine::Event& event, std::uint32_t group, When when) override {
    notices_.push_back({event, group, when});
  }
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> attached) override {
    const auto header = agent::read_header(packet);
    auto message = agent::decode(packet);
    REQUIRE(header);
    REQUIRE(message);
    received_.push_back({header->host, *std::move(message), std::move(attached).value()});
  }
  void on_link_end(LinkEnd, int, const std::string&) override { link_.reset(); }

  Reaper reaper_{reactor};
  std::unique_ptr<LaunchDriver> driver_;
  std::optional<LocalLink> link_;
  std::list<Received> received_;
  std::list<Recorded> notices_;
  std::optional<LaunchResult> result_;
  int lines_ = 0;
};

}  // namespace wireup::runtime::fakes
