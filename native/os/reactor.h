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
// on the next turn.
//
// What runs belongs to an owner, and so does what it adds, sets and posts meanwhile. An exception of a
// handler or function goes to on_failure(), with the owner; nothing of that owner is called any more until
// forget(). Without on_failure() it leaves run().
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/socket_backend_choice.h"

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
  using Owner = std::uint64_t;    // 0: none
  // Called on the loop, without an owner. What it posts runs when no function of the owner does.
  using OnFailure = std::function<void(Owner owner, std::exception_ptr failure)>;
  // The kind of an fd. The backend may receive from stream sockets before their handlers run.
  enum class Kind : std::uint8_t { any, stream_socket };

  explicit Reactor(UseIoUring use = UseIoUring::automatic);  // throws OsError
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  void run();   // until stop()
  void stop();  // any thread; what was posted before it still runs
  // Any thread. Where no owner is given it has the one whose function runs, and none from a thread other than
  // the loop's.
  void post(std::function<void()> function);
  void post(Owner owner, std::function<void()> function);

  // Before run().
  void on_failure(OnFailure on_failure) { on_failure_ = std::move(on_failure); }
  // Whose function runs.
  Owner owner() const { return owner_; }
  // Runs it as that owner's: for what is called on behalf of another than the one whose turn it is.
  template <typename Function>
  void run_as(Owner owner, Function&& function) {
    if (owner == owner_ && owner != 0) return function();
    if (!failed_.empty() && failed_.contains(owner)) return;
    const Owner outer = std::exchange(owner_, owner);
    try {
      function();
    } catch (...) {
      owner_ = 0;
      failed(owner);
    }
    owner_ = outer;
  }
  // Nothing is left of an owner that has failed.
  void forget(Owner owner) { failed_.erase(owner); }

  // The fd stays the caller's; remove() it before closing. Level-triggered. Throws OsError
  // (EPERM: a regular file, which is always ready).
  void add(int fd, std::uint32_t events, Handler& handler, Kind kind = Kind::any);
  void modify(int fd, std::uint32_t events, Handler& handler);
  // Does nothing when `handler` is not what stands for this fd.
  void remove(int fd, Handler& handler);
  bool watches(int fd) const;

  TimerId at(Clock::time_point when, std::function<void()> function);
  TimerId after(Clock::duration delay, std::function<void()> function) {
    return at(Clock::now() + delay, std::move(function));
  }
  void cancel(TimerId timer);  // does nothing when it has run

  // How handlers of stream sockets receive and send. Another one may be chosen for the next turn.
  SocketBackend& sockets() { return sockets_.current(); }

 private:
  struct Registration {
    Handler* handler = nullptr;
    std::uint32_t generation = 0;
    Kind kind = Kind::any;
    Owner owner = 0;
  };
  struct Owned {
    Owner owner;
    std::function<void()> function;
  };
  using TimerKey = std::pair<Clock::time_point, TimerId>;

  Registration* find(int fd, const Handler& handler);
  int wait_ms();
  Registration* find(const epoll_event& event);
  void find_readable(std::span<const epoll_event> events);
  void dispatch(const epoll_event& event);
  void run_timers();
  void run_posted();
  void wake();
  void failed(Owner owner);

  UniqueFd epoll_;
  UniqueFd wake_;
  SocketBackendChoice sockets_;
  std::vector<int> readable_;           // stream sockets in this turn
  std::vector<Registration> handlers_;  // by fd
  std::uint32_t generation_ = 0;
  std::size_t stream_sockets_ = 0;
  bool stopping_ = false;
  std::atomic<std::thread::id> loop_thread_;

  OnFailure on_failure_;
  Owner owner_ = 0;
  std::unordered_set<Owner> failed_;

  std::map<TimerKey, Owned> timers_;
  std::unordered_map<TimerId, Clock::time_point> timer_times_;
  std::vector<TimerKey> due_;
  TimerId last_timer_ = 0;

  std::mutex mutex_;
  std::vector<Owned> posted_;  // under mutex_
  // Whether anything is: the loop looks at it twice a turn, and a mutex costs as much as reading a request.
  std::atomic<bool> has_posted_ = false;
  std::vector<Owned> running_;
};

}  // namespace wireup::os
