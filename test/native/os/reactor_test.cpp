#include "os/reactor.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "os/support.h"

namespace wireup::os {

using namespace test;

namespace {

struct Called final : Handler {
  explicit Called(std::function<void(std::uint32_t)> then = {}) : then(std::move(then)) {}
  void on_ready(std::uint32_t events) override {
    ++calls;
    if (then) then(events);
  }
  int calls = 0;
  std::function<void(std::uint32_t)> then;
};

// A pipe whose read end is ready.
FdPair ready_pipe() {
  FdPair pipe = make_pipe();
  REQUIRE(::write(pipe.second.get(), "x", 1) == 1);
  return pipe;
}

}  // namespace

TEST_ON_BOTH_BACKENDS("reactor: posted functions run in order, also those posted before run()") {
  Reactor reactor(use);
  std::string order;
  reactor.post([&] { order += 'a'; });
  reactor.post([&] {
    order += 'b';
    reactor.post([&] {
      order += 'd';
      reactor.stop();
    });
  });
  reactor.post([&] { order += 'c'; });
  reactor.run();
  CHECK(order == "abcd");
}

TEST_ON_BOTH_BACKENDS("reactor: runs all functions that many threads post, in each thread's order") {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  Reactor reactor(use);
  std::vector<int> next(kThreads, 0);
  bool in_order = true;
  int done = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; i++) {
        reactor.post([&, t, i] {
          in_order = in_order && next[t] == i;
          next[t] = i + 1;
          if (++done == kThreads * kPosts) reactor.stop();
        });
      }
    });
  }
  reactor.run();
  for (auto& thread : threads) thread.join();
  CHECK(in_order);
  CHECK(done == kThreads * kPosts);
}

TEST_ON_BOTH_BACKENDS("reactor: another thread can stop it, and it can run again") {
  Reactor reactor(use);
  for (int i = 0; i < 100; i++) {
    std::thread stopper([&] { reactor.stop(); });
    reactor.run();
    stopper.join();
  }
}

TEST_ON_BOTH_BACKENDS("reactor: destroys functions that have not run") {
  auto token = std::make_shared<int>();
  std::weak_ptr<int> watch = token;
  {
    Reactor reactor(use);
    reactor.post([token] {});
    reactor.after(1h, [token] {});
    token.reset();
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
}

TEST_ON_BOTH_BACKENDS("reactor: post() wakes the waiting loop") {
  Reactor reactor(use);
  std::atomic<bool> idle = false;
  std::thread poster;
  reactor.after(0ms, [&] { idle = true; });
  poster = std::thread([&] {
    while (!idle) std::this_thread::yield();
    reactor.post([&] { reactor.stop(); });
  });
  reactor.run();
  poster.join();
  CHECK(idle);
}

TEST_ON_BOTH_BACKENDS(
    "reactor: calls handlers level-triggered, and add(), modify() and remove() take effect") {
  Reactor reactor(use);
  FdPair pipe = ready_pipe();
  Called handler([&](std::uint32_t events) {
    CHECK(events == EPOLLIN);
    if (handler.calls == 3) {
      reactor.modify(pipe.first.get(), 0, handler);
      reactor.stop();
    }
  });
  reactor.add(pipe.first.get(), EPOLLIN, handler);
  reactor.run();
  CHECK(handler.calls == 3);
  run_once(reactor);
  CHECK(handler.calls == 3);
  reactor.modify(pipe.first.get(), EPOLLIN, handler);
  run_once(reactor);
  CHECK(handler.calls == 4);
  reactor.remove(pipe.first.get(), handler);
  run_once(reactor);
  CHECK(handler.calls == 4);
}

TEST_ON_BOTH_BACKENDS("reactor: does not call a handler that another one removed in the same turn") {
  Reactor reactor(use);
  FdPair pipes[2] = {ready_pipe(), ready_pipe()};
  std::optional<Called> handlers[2];
  for (int i = 0; i < 2; i++) {
    handlers[i].emplace([&, i](std::uint32_t) {
      reactor.remove(pipes[1 - i].first.get(), *handlers[1 - i]);
      handlers[1 - i].reset();
    });
    reactor.add(pipes[i].first.get(), EPOLLIN, *handlers[i]);
  }
  run_once(reactor);
  // The first one called removed the other.
  CHECK(handlers[0].has_value() != handlers[1].has_value());
}

TEST_ON_BOTH_BACKENDS("reactor: a new file does not receive the event of an old file with its number") {
  Reactor reactor(use);
  FdPair pipes[2] = {ready_pipe(), ready_pipe()};
  FdPair quiet = make_pipe();
  Called fresh;
  std::optional<Called> handlers[2];
  for (int i = 0; i < 2; i++) {
    handlers[i].emplace([&, i](std::uint32_t) {
      const int other = pipes[1 - i].first.get();
      if (!handlers[1 - i]) return;
      reactor.remove(other, *handlers[1 - i]);
      handlers[1 - i].reset();
      REQUIRE(::dup3(quiet.first.get(), other, O_CLOEXEC) == other);
      reactor.add(other, EPOLLIN, fresh);
    });
    reactor.add(pipes[i].first.get(), EPOLLIN, *handlers[i]);
  }
  run_once(reactor);
  CHECK(fresh.calls == 0);
  REQUIRE(::write(quiet.second.get(), "x", 1) == 1);
  run_once(reactor);
  CHECK(fresh.calls == 1);
}

TEST_ON_BOTH_BACKENDS("reactor: calls a handler that adds itself again in on_ready() once a turn") {
  Reactor reactor(use);
  FdPair pipe = ready_pipe();
  Called handler([&](std::uint32_t) {
    reactor.remove(pipe.first.get(), handler);
    reactor.add(pipe.first.get(), EPOLLIN, handler);
  });
  reactor.add(pipe.first.get(), EPOLLIN, handler);
  run_once(reactor);
  CHECK(handler.calls == 1);
}

TEST_ON_BOTH_BACKENDS("reactor: reports a hang-up together with readable bytes") {
  Reactor reactor(use);
  FdPair pipe = ready_pipe();
  pipe.second.reset();
  std::uint32_t seen = 0;
  Called handler([&](std::uint32_t events) { seen = events; });
  reactor.add(pipe.first.get(), EPOLLIN, handler);
  run_once(reactor);
  CHECK(seen == (EPOLLIN | EPOLLHUP));
}

TEST_ON_BOTH_BACKENDS(
    "reactor: after an exception it calls nothing of that owner, and other owners continue") {
  struct Bad {};
  Reactor reactor(use);
  std::vector<Reactor::Owner> failed;
  reactor.on_failure([&](Reactor::Owner owner, const std::exception_ptr& failure) {
    CHECK_THROWS_AS(std::rethrow_exception(failure), Bad);
    CHECK(reactor.owner() == 0);
    failed.push_back(owner);
  });
  const FdPair thrower = ready_pipe(), silenced = ready_pipe(), other = ready_pipe();
  Called throws([](std::uint32_t) { throw Bad(); });
  Called never;
  Called goes_on;
  int timers = 0, posts = 0;
  // Everything that a function adds, sets and posts gets its owner.
  reactor.post(7, [&] { reactor.add(thrower.first.get(), EPOLLIN, throws); });
  reactor.post(11, [&] {
    reactor.post([&] {
      CHECK(reactor.owner() == 11);
      ++posts;
    });
  });
  reactor.post(8, [&] {
    reactor.after(0ms, [&] {
      CHECK(reactor.owner() == 8);
      ++timers;
      throw Bad();
    });
    reactor.add(silenced.first.get(), EPOLLIN, never);
    reactor.after(1h, [] {});
  });
  reactor.post(9, [&] {
    reactor.add(other.first.get(), EPOLLIN, goes_on);
    throw Bad();
  });
  reactor.post(10, [&] { reactor.after(5ms, [&] { ++timers; }); });
  run_until(reactor, [&] { return failed.size() == 3 && timers == 2; });
  CHECK(throws.calls == 1);
  CHECK(posts == 1);
  CHECK(std::set<Reactor::Owner>(failed.begin(), failed.end()) == std::set<Reactor::Owner>{7, 8, 9});
  CHECK(goes_on.calls == 0);
  // forget() allows calls again.
  reactor.forget(9);
  run_until(reactor, [&] { return goes_on.calls > 0; });
  reactor.remove(thrower.first.get(), throws);
  reactor.remove(silenced.first.get(), never);
  reactor.remove(other.first.get(), goes_on);
}

TEST_ON_BOTH_BACKENDS("reactor: an exception in run_as() fails that owner, and the caller continues") {
  Reactor reactor(use);
  std::vector<Reactor::Owner> failed;
  reactor.on_failure([&](Reactor::Owner owner, const std::exception_ptr&) { failed.push_back(owner); });
  bool done = false;
  reactor.post(1, [&] {
    reactor.run_as(2, [] { throw 2; });
    CHECK(reactor.owner() == 1);
    // An exception of the running owner passes through run_as().
    CHECK_THROWS_AS(reactor.run_as(1, [] { throw 1; }), int);
    reactor.run_as(2, [] { FAIL("it has failed"); });
    done = true;
  });
  run_until(reactor, [&] { return done; });
  CHECK(failed == std::vector<Reactor::Owner>{2});
}

TEST_ON_BOTH_BACKENDS("reactor: without on_failure() an exception leaves run()") {
  Reactor reactor(use);
  reactor.post([] { throw 1; });
  CHECK_THROWS_AS(reactor.run(), int);
}

TEST_ON_BOTH_BACKENDS("reactor: refuses invalid fds") {
  Reactor reactor(use);
  Called handler;
  FdPair pipe = make_pipe();
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  CHECK(thrown_by([&] { reactor.add(file.get(), EPOLLIN, handler); }) == EPERM);
  CHECK(thrown_by([&] { reactor.add(-1, EPOLLIN, handler); }) == EBADF);
  CHECK(thrown_by([&] { reactor.modify(pipe.first.get(), EPOLLIN, handler); }) == ENOENT);
  reactor.add(pipe.first.get(), EPOLLIN, handler);
  CHECK(thrown_by([&] { reactor.add(pipe.first.get(), EPOLLIN, handler); }) == EEXIST);
  Called other;
  reactor.remove(pipe.first.get(), other);
  reactor.modify(pipe.first.get(), EPOLLOUT, handler);
}

TEST_ON_BOTH_BACKENDS("reactor: timers run in order of time, and then in the order in which they were set") {
  Reactor reactor(use);
  std::string order;
  const auto now = Reactor::Clock::now();
  reactor.at(now + 3ms, [&] { order += 'd'; });
  reactor.at(now + 1ms, [&] { order += 'b'; });
  reactor.at(now + 1ms, [&] { order += 'c'; });
  reactor.at(now - 1s, [&] { order += 'a'; });
  run_until(reactor, [&] { return order.size() == 4; });
  CHECK(order == "abcd");
}

TEST_ON_BOTH_BACKENDS("reactor: a timer does not run early") {
  Reactor reactor(use);
  const auto when = Reactor::Clock::now() + 2500us;
  Reactor::Clock::time_point ran;
  reactor.at(when, [&] {
    ran = Reactor::Clock::now();
    reactor.stop();
  });
  reactor.run();
  CHECK(ran >= when);
}

TEST_ON_BOTH_BACKENDS("reactor: cancelled timers do not run, even if they are due") {
  Reactor reactor(use);
  int ran = 0;
  const auto past = Reactor::Clock::now() - 1s;
  Reactor::TimerId second = 0;
  reactor.at(past, [&] { reactor.cancel(second); });
  second = reactor.at(past, [&] { ++ran; });
  reactor.cancel(reactor.after(0ms, [&] { ++ran; }));
  reactor.cancel(0);
  reactor.cancel(12345);
  run_once(reactor);
  run_once(reactor);
  CHECK(ran == 0);
}

TEST_ON_BOTH_BACKENDS("reactor: a timer may set many timers while others are due") {
  Reactor reactor(use);
  int ran = 0;
  const auto past = Reactor::Clock::now() - 1s;
  for (int i = 0; i < 3; ++i) {
    reactor.at(past, [&] {
      ++ran;
      for (int more = 0; more < 100; ++more) reactor.at(past, [&] { ++ran; });
    });
  }
  run_once(reactor);
  CHECK(ran == 3);
  run_once(reactor);
  CHECK(ran == 303);
}

TEST_ON_BOTH_BACKENDS("reactor: a timer that sets itself for now does not starve fds or posts") {
  Reactor reactor(use);
  FdPair pipe = ready_pipe();
  Called handler;
  reactor.add(pipe.first.get(), EPOLLIN, handler);
  std::function<void()> again = [&] { reactor.at(Reactor::Clock::time_point::min(), again); };
  again();
  int posts = 0;
  std::function<void()> repost = [&] {
    if (++posts == 10) reactor.stop();
    reactor.post(repost);
  };
  reactor.post(repost);
  reactor.run();
  CHECK(posts >= 10);
  CHECK(handler.calls >= 9);
}

}  // namespace wireup::os
