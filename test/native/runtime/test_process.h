// A runtime as a calling process has it, with all notices that it has received.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "os/support.h"
#include "runtime/runtime.h"

namespace wireup::runtime::test {

class TestProcess {
  // Before the runtime, whose thread uses them until it is destroyed.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  std::deque<Notice> received_;
  RequestId request_ = 0;

 public:
  Runtime runtime{[this] {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }};

  // Waits for a notice for the handle that `accept` returns true for.
  template <typename Accept>
  const Notice& wait(Handle handle, Accept accept) {
    const auto deadline = std::chrono::steady_clock::now() + os::test::kTimeout;
    for (std::size_t seen = 0;;) {
      for (; seen < received_.size(); ++seen) {
        if (received_[seen].handle == handle && accept(received_[seen])) return received_[seen];
      }
      {
        std::unique_lock lock(mutex_);
        REQUIRE(changed_.wait_until(lock, deadline, [&] { return woken_; }));
        woken_ = false;
      }
      receive();
    }
  }

  // Waits for a notice of that kind.
  template <typename Kind>
  const Kind& expect(Handle handle) {
    return *as<Kind>(wait(handle, is<Kind>).payload);
  }

  // Waits for a notice of that kind, or Closed. Returns whether it was the former.
  template <typename Kind>
  bool expect_or_closed(Handle handle) {
    return is<Kind>(
        wait(handle, [](const Notice& notice) { return is<Kind>(notice) || is<Closed>(notice); }));
  }

  template <typename Kind>
  std::size_t count(Handle handle) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        received_, [&](const Notice& notice) { return notice.handle == handle && is<Kind>(notice); }));
  }

  // Of all handles.
  template <typename Kind>
  std::ptrdiff_t total() const {
    return std::ranges::count_if(received_, is<Kind>);
  }

  // The server still serves.
  void expect_alive(Handle server) {
    const RequestId request = ++request_;
    runtime.status(server, request);
    wait(server, [&](const Notice& notice) {
      if (is<Closed>(notice)) FAIL("the server was closed");
      const auto* reply = as<StatusReply>(notice.payload);
      return reply != nullptr && reply->request == request;
    });
  }

  void receive() {
    for (bool more = true; more;) {
      Outbox::Batch batch = runtime.take(SIZE_MAX);
      more = batch.more;
      for (Notice& notice : batch.notices) received_.push_back(std::move(notice));
    }
  }

  template <typename Kind>
  static bool is(const Notice& notice) {
    return as<Kind>(notice.payload) != nullptr;
  }
};

inline ServerOptions server_called(std::string kvsname) {
  ServerOptions options;
  options.group.kvsname = std::move(kvsname);
  return options;
}

inline GroupOptions group_called(std::string kvsname) {
  GroupOptions options;
  options.group.kvsname = std::move(kvsname);
  wire::agent::Program program;
  program.args = {"sleep", "1000"};
  options.programs = {program};
  return options;
}

inline LaunchOptions launch_called(std::string kvsname, std::string agent) {
  LaunchOptions options;
  options.group = group_called(std::move(kvsname));
  options.agent.path = std::move(agent);
  options.hello.kvs_limit = engine::kDefaultSpace;
  return options;
}

}  // namespace wireup::runtime::test
