// What this host reports to the launcher, in order. A message is sent at once. Events of PMI servers are sent
// in batches, because a job of many ranks has several for each rank, and a barrier after another has one
// every few microseconds. The events before a message are sent before it.
//
// While the launcher is slow, events that peers can repeat without end are dropped, and counted in an
// EventsMissed.
//
// Threads: the reactor's.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/effects.h"
#include "os/reactor.h"
#include "tools/agent/launcher_clock.h"
#include "tools/agent/router.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Reports {
 public:
  Reports(os::Reactor& reactor, Router& router, const LauncherClock& clock);
  ~Reports();
  Reports(const Reports&) = delete;
  Reports& operator=(const Reports&) = delete;

  // A process group has ranks on so many hosts. The more there are, the longer are the batches.
  void spans(std::size_t hosts);
  void send(const wire::agent::Message& message);
  // This moment, for a message.
  std::uint64_t now_ns() const { return clock_.launcher_ns(os::Reactor::Clock::now()); }
  void event(std::uint32_t group, const engine::Event& event);
  // Sends the events that wait.
  void flush();
  // The launcher has gone, or gets no more reports because the agent ends with an error.
  void stop();

 private:
  void flush_at(os::Reactor::Clock::time_point when);
  // Sends EventsMissed if the launcher is no longer slow.
  void report_missed();
  bool slow() const;

  os::Reactor& reactor_;
  Router& router_;
  const LauncherClock& clock_;
  std::vector<wire::agent::Events> batch_;
  std::chrono::milliseconds interval_;  // between two batches
  std::size_t waiting_ = 0;             // events in batch_
  os::Reactor::Clock::time_point last_batch_;
  os::Reactor::TimerId timer_ = 0;
  std::array<std::uint64_t, engine::kEventTypes> missed_{};
  bool any_missed_ = false;
  bool stopped_ = false;
};

}  // namespace wireup::agent
