#include "os/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "os/error.h"

namespace wireup::os {

namespace {

// Each event may be a readable socket. An event takes 12 bytes of the stack.
constexpr int kEventsPerWait = SocketBackend::kMostReadable;

// Generations of registrations start at 1.
constexpr std::uint32_t kWakeGeneration = 0;

// Each event contains the fd and the generation of its registration. So an event of this turn can be
// recognized as stale if its fd has been removed, or closed and opened again.
std::uint64_t pack(int fd, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd);
}

struct Packed {
  int fd;
  std::uint32_t generation;
};

Packed unpack(std::uint64_t data) {
  return {static_cast<int>(data & 0xffffffffU), static_cast<std::uint32_t>(data >> 32)};
}

void control(int epoll, int operation, int fd, std::uint32_t events, std::uint32_t generation) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = pack(fd, generation);
  if (::epoll_ctl(epoll, operation, fd, &event) < 0) throw OsError::last("epoll_ctl");
}

}  // namespace

Reactor::Reactor(UseIoUring use) : epoll_(::epoll_create1(EPOLL_CLOEXEC)), sockets_(use) {
  if (!epoll_) throw OsError::last("epoll_create1");
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) throw OsError::last("eventfd");
  control(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), EPOLLIN, kWakeGeneration);
  // The loop itself needs no memory: a lack of it would fail every owner.
  readable_.reserve(kEventsPerWait);
}

Reactor::~Reactor() {
  // Destructors of captured objects may call this reactor.
  const auto timers = std::exchange(timers_, {});
  const auto posted = std::exchange(posted_, {});
}

void Reactor::run() {
  struct OnLoop {
    explicit OnLoop(Reactor& reactor) : reactor(reactor) {
      reactor.loop_thread_.store(std::this_thread::get_id());
    }
    ~OnLoop() { reactor.loop_thread_.store({}); }
    Reactor& reactor;
  } on_loop(*this);

  stopping_ = false;
  epoll_event events[kEventsPerWait];
  while (!stopping_) {
    const int count = ::epoll_wait(epoll_.get(), events, kEventsPerWait, wait_ms());
    if (count < 0 && errno != EINTR) throw OsError::last("epoll_wait");
    ++turns_;
    const std::span<const epoll_event> ready(events, static_cast<std::size_t>(std::max(count, 0)));
    readable_.clear();
    if (sockets_.needs_readable(ready.size())) find_readable(ready);
    sockets_.begin_turn(readable_);
    for (const epoll_event& event : ready) dispatch(event);
    run_timers();
    run_posted();
    sockets_.end_turn(stream_sockets_ > 0);
  }
}

void Reactor::stop() {
  post([this] { stopping_ = true; });
}

void Reactor::failed(Owner owner) {
  if (!on_failure_) throw;
  if (owner != 0) failed_.insert(owner);
  on_failure_(owner, std::current_exception());
}

void Reactor::post(Function function) {
  post(loop_thread_.load() == std::this_thread::get_id() ? owner_ : 0, std::move(function));
}

void Reactor::post(Owner owner, Function function) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back({owner, std::move(function)});
    has_posted_ = true;
  }
  // The loop checks the queue before it waits.
  if (first && loop_thread_.load() != std::this_thread::get_id()) wake();
}

void Reactor::wake() {
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, so the loop wakes anyway.
  if (::write(wake_.get(), &one, sizeof one) < 0 && errno != EAGAIN) throw OsError::last("write", "eventfd");
}

void Reactor::add(int fd, std::uint32_t events, Handler& handler, Kind kind) {
  if (fd < 0) throw OsError(EBADF, "epoll_ctl");
  const auto index = static_cast<std::size_t>(fd);
  if (index >= handlers_.size()) handlers_.resize(std::max(index + 1, handlers_.size() * 2));
  if (++generation_ == kWakeGeneration) ++generation_;
  control(epoll_.get(), EPOLL_CTL_ADD, fd, events, generation_);
  handlers_[index] = {&handler, generation_, kind, owner_};
  if (kind == Kind::stream_socket) stream_sockets_++;
}

Reactor::Registration* Reactor::find(int fd, const Handler& handler) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= handlers_.size()) return nullptr;
  Registration& registration = handlers_[static_cast<std::size_t>(fd)];
  return registration.handler == &handler ? &registration : nullptr;
}

void Reactor::modify(int fd, std::uint32_t events, Handler& handler) {
  const Registration* registration = find(fd, handler);
  if (registration == nullptr) throw OsError(ENOENT, "epoll_ctl");
  control(epoll_.get(), EPOLL_CTL_MOD, fd, events, registration->generation);
}

void Reactor::remove(int fd, Handler& handler) {
  Registration* registration = find(fd, handler);
  if (registration == nullptr) return;
  if (registration->kind == Kind::stream_socket) {
    --stream_sockets_;
    sockets().discard(fd);
  }
  *registration = {};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

bool Reactor::watches(int fd) const {
  return fd >= 0 && static_cast<std::size_t>(fd) < handlers_.size() &&
         handlers_[static_cast<std::size_t>(fd)].handler != nullptr;
}

Reactor::Registration* Reactor::find(const epoll_event& event) {
  const auto [fd, generation] = unpack(event.data.u64);
  Registration& registration = handlers_[static_cast<std::size_t>(fd)];
  return registration.handler != nullptr && registration.generation == generation ? &registration : nullptr;
}

void Reactor::find_readable(std::span<const epoll_event> events) {
  for (const epoll_event& event : events) {
    const auto [fd, generation] = unpack(event.data.u64);
    if (generation == kWakeGeneration || (event.events & ~std::uint32_t{EPOLLOUT}) == 0) continue;
    const Registration* registration = find(event);
    if (registration != nullptr && registration->kind == Kind::stream_socket) readable_.push_back(fd);
  }
}

void Reactor::dispatch(const epoll_event& event) {
  if (unpack(event.data.u64).generation == kWakeGeneration) {
    std::uint64_t count;
    // Non-blocking. If it fails, the counter is 0, and there is nothing to do.
    [[maybe_unused]] const ssize_t ignored = ::read(wake_.get(), &count, sizeof count);
    return;
  }
  const Registration* registration = find(event);
  if (registration == nullptr) return;
  run_as(registration->owner, [&, handler = registration->handler] { handler->on_ready(event.events); });
}

Reactor::TimerId Reactor::at(Clock::time_point when, Function function) {
  const TimerId id = ++last_timer_;
  // Here, on behalf of the owner, and not in the loop.
  if (due_.capacity() <= timers_.size()) due_.reserve(2 * timers_.size() + 1);
  timer_times_.emplace(id, when);
  timers_.emplace(TimerKey{when, id}, Owned{owner_, std::move(function)});
  return id;
}

void Reactor::cancel(TimerId timer) {
  const auto time = timer_times_.find(timer);
  if (time == timer_times_.end()) return;
  // The function is destroyed last, because destructors of captured objects may call cancel().
  const auto node = timers_.extract(TimerKey{time->second, timer});
  timer_times_.erase(time);
}

void Reactor::run_timers() {
  if (timers_.empty()) return;
  const auto now = Clock::now();
  due_.clear();
  for (auto timer = timers_.begin(); timer != timers_.end() && timer->first.first <= now; ++timer) {
    due_.push_back(timer->first);
  }
  // By index and by value: at() may grow due_ while a function runs.
  for (std::size_t next = 0; next < due_.size();) {
    const TimerKey key = due_[next++];
    auto node = timers_.extract(key);
    if (node.empty()) continue;  // cancelled by an earlier timer
    timer_times_.erase(key.second);
    run_as(node.mapped().owner, node.mapped().function);
  }
}

void Reactor::run_posted() {
  if (!has_posted_) return;
  running_.clear();
  {
    const std::lock_guard lock(mutex_);
    running_.swap(posted_);
    has_posted_ = false;
  }
  for (Owned& posted : running_) {
    // Moved, so that its captured objects are destroyed now and not after the last function.
    run_as(posted.owner, [function = std::exchange(posted.function, nullptr)]() mutable { function(); });
  }
}

int Reactor::wait_ms() {
  if (has_posted_) return 0;
  if (timers_.empty()) return -1;
  // Rounded up: if the wait ended before the timer, the loop would spin for the last millisecond.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

}  // namespace wireup::os
