// An epoll loop with fds, timers and posted functions. It does not know PMI.
//
// Threads: the thread that calls run() owns the reactor. Before that, the thread that made it does. Only the
// owning thread may call the methods, except for post() and stop(). Any thread may call post(), also the
// loop's. Posted functions run on the loop, in order, before its next wait. A function that a posted function
// posts runs after a wait that does not block, so it cannot starve the fds.
//
// The reactor passes EPOLLHUP and EPOLLERR to the handler together with EPOLLIN, so that a handler can read
// all bytes first. In on_ready() a handler may remove itself or any other handler. No removed handler is
// called after that, even if its fd number is added again. A timer may set or cancel any timer. A timer that
// is set for now runs in the next turn.
//
// Each handler, timer and posted function has an owner. It passes its owner on to everything that it adds,
// sets or posts. If one of them throws, the reactor passes the exception and the owner to on_failure(), and
// calls nothing of that owner until forget(). Without on_failure() the exception leaves run().
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
#include "os/unique_function.h"

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
  using Function = UniqueFunction<void()>;
  // Called on the loop, without an owner. What it posts runs when no function of the failed owner is running.
  using OnFailure = std::function<void(Owner owner, std::exception_ptr failure)>;
  // The kind of an fd. The backend may receive from stream sockets before their handlers run.
  enum class Kind : std::uint8_t { any, stream_socket };

  explicit Reactor(UseIoUring use = UseIoUring::automatic);  // throws OsError
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  void run();   // returns after stop()
  void stop();  // any thread; functions that were posted before it still run
  // Any thread. Without an owner, the function gets the owner of the running function, and none if another
  // thread than the loop's posts it.
  void post(Function function);
  void post(Owner owner, Function function);

  // How often the loop has waited for events.
  std::uint64_t turns() const { return turns_; }

  // Call it before run().
  void on_failure(OnFailure on_failure) { on_failure_ = std::move(on_failure); }
  // The owner of the running function.
  Owner owner() const { return owner_; }
  // Calls `function` for `owner`, instead of the owner of the running function.
  template <typename Call>
  void run_as(Owner owner, Call&& function) {
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
  // Call it when a failed owner has no handlers, timers and functions left.
  void forget(Owner owner) { failed_.erase(owner); }

  // Watches `fd`, level-triggered, and calls `handler`. The caller must remove() it before it closes the fd.
  // Throws OsError (EPERM: a regular file, which is always ready).
  void add(int fd, std::uint32_t events, Handler& handler, Kind kind = Kind::any);
  void modify(int fd, std::uint32_t events, Handler& handler);
  // Does nothing if `handler` is not the handler of this fd.
  void remove(int fd, Handler& handler);
  bool watches(int fd) const;

  TimerId at(Clock::time_point when, Function function);
  TimerId after(Clock::duration delay, Function function) {
    return at(Clock::now() + delay, std::move(function));
  }
  void cancel(TimerId timer);  // does nothing if it has run

  // The backend by which handlers of stream sockets receive and send. It may change between turns.
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
    Function function;
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
  std::uint64_t turns_ = 0;
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
  // Whether posted_ has functions. The loop checks it twice a turn, and a mutex costs as much as reading a
  // request.
  std::atomic<bool> has_posted_ = false;
  std::vector<Owned> running_;
};

}  // namespace wireup::os
