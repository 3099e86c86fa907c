// One epoll loop. Knows fds, timers and posted functions, nothing of PMI.
//
// Threads: run() is called by the thread that then owns everything here; every method but post() and stop()
// belongs to that thread (before run() is called: to the thread that made the reactor). post() may be called
// from any thread, and from the loop itself; what was posted runs in order, on the loop, before the next
// wait. What a posted function posts itself runs after a wait that does not block, so that it cannot starve
// the fds.
//
// HUP and ERR are handed to the handler together with IN, never obeyed here: a reader drains first.
// A handler may remove itself or any other from within on_ready(); nothing stale is called afterwards, also
// when the same fd number was added again. A timer may set or cancel any other; one that is set for now runs
// on the next turn. An exception from a handler or function leaves run().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/buffer.h"
#include "os/fd.h"

namespace wireup::os {

class Handler {
 public:
  virtual ~Handler() = default;
  // `events` is a mask of EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP.
  virtual void on_ready(std::uint32_t events) = 0;
};

class Reactor {
 public:
  using Clock = std::chrono::steady_clock;
  using TimerId = std::uint64_t;  // 0 is never given

  Reactor();  // throws OsError
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  void run();                                 // until stop()
  void stop();                                // any thread; what was posted before it still runs
  void post(std::function<void()> function);  // any thread

  // The fd stays the caller's; remove() it before closing. Level-triggered. Throws OsError
  // (EPERM: a regular file, which is always ready).
  void add(int fd, std::uint32_t events, Handler& handler);
  void modify(int fd, std::uint32_t events, Handler& handler);
  // Does nothing when `handler` is not what stands for this fd.
  void remove(int fd, Handler& handler);
  bool watches(int fd) const;

  TimerId at(Clock::time_point when, std::function<void()> function);
  TimerId after(Clock::duration delay, std::function<void()> function) {
    return at(Clock::now() + delay, std::move(function));
  }
  void cancel(TimerId timer);  // does nothing when it has run

  // Memory to read into, for the handler that runs now: what is in it is consumed before the handler returns.
  std::span<char> read_buffer();

 private:
  struct Registration {
    Handler* handler = nullptr;
    std::uint32_t generation = 0;
  };
  using TimerKey = std::pair<Clock::time_point, TimerId>;

  Registration* find(int fd, const Handler& handler);
  int wait_ms();
  void dispatch(int fd, std::uint32_t generation, std::uint32_t events);
  void run_timers();
  void run_posted();
  void wake();

  UniqueFd epoll_;
  UniqueFd wake_;
  Buffer buffer_;
  std::vector<Registration> handlers_;  // by fd
  std::uint32_t generation_ = 0;
  bool stopping_ = false;
  std::atomic<std::thread::id> loop_thread_;

  std::map<TimerKey, std::function<void()>> timers_;
  std::unordered_map<TimerId, Clock::time_point> timer_times_;
  std::vector<TimerKey> due_;
  TimerId last_timer_ = 0;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // under mutex_
  // Whether anything is: the loop looks at it twice a turn, and a mutex costs as much as reading a request.
  std::atomic<bool> has_posted_ = false;
  std::vector<std::function<void()>> running_;
};

}  // namespace wireup::os
