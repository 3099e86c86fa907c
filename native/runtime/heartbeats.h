// The heartbeats of a link between two hosts. A side that sends nothing else for a second sends one, and a
// peer from which nothing comes for five seconds is silent.
//
// Heartbeats come from the loop of the peer's process. So a peer is silent if the network is cut, if its
// process is stopped, and if its loop hangs although other threads of the process run.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <string>

#include "os/lifetime.h"
#include "os/reactor.h"

namespace wireup::runtime {

struct LinkTiming {
  std::chrono::milliseconds heartbeat{1000};
  std::chrono::milliseconds silence{5000};  // 0: it may last as long as it likes
};

// For people: "no sign for 5 s".
std::string silence_in_words(const LinkTiming& timing);

class HeartbeatObserver {
 public:
  virtual ~HeartbeatObserver() = default;
  // Nothing was sent for a while. Sends a heartbeat unless bytes wait to be sent already.
  virtual void on_heartbeat_due() = 0;
  // Receives now what has arrived: this process may have been slower than the peer. May destroy the
  // Heartbeats.
  virtual void receive_now() = 0;
  // Once, as the last call. May destroy the Heartbeats.
  virtual void on_silence() = 0;
};

class Heartbeats {
 public:
  Heartbeats(os::Reactor& reactor, const LinkTiming& timing, HeartbeatObserver& observer)
      : reactor_(reactor), timing_(timing), observer_(observer) {}
  ~Heartbeats() { stop(); }
  Heartbeats(const Heartbeats&) = delete;
  Heartbeats& operator=(const Heartbeats&) = delete;

  // The peer's silence counts from now on.
  void watch();
  // This side sends heartbeats from now on.
  void start();
  // Neither any more.
  void stop();
  void sent() { last_sent_ = Clock::now(); }
  void received() { last_received_ = Clock::now(); }
  // This side stops reading, or reads on. The peer's silence does not count meanwhile.
  void hold(bool on);

 private:
  using Clock = os::Reactor::Clock;

  void check_later();
  void check(Clock::time_point due);
  void beat();

  os::Reactor& reactor_;
  LinkTiming timing_;
  HeartbeatObserver& observer_;
  os::Lifetime lifetime_;
  bool held_ = false;
  Clock::time_point last_received_ = Clock::now();
  Clock::time_point last_sent_ = last_received_;
  os::Reactor::TimerId silence_timer_ = 0;
  os::Reactor::TimerId heartbeat_timer_ = 0;
};

}  // namespace wireup::runtime
