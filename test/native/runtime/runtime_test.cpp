#include "runtime/runtime.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>

#include "os/support.h"

namespace wireup::runtime {
namespace {

using namespace os::test;

// A runtime as an owner has it, and all that it was told.
class Owner {
 public:
  Runtime runtime{[this] {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }};

  // Waits for a notice of that kind for that handle.
  template <typename Kind>
  const Kind& expect(Handle handle) {
    const auto deadline = std::chrono::steady_clock::now() + kTimeout;
    for (std::size_t seen = 0;;) {
      for (; seen < told_.size(); ++seen) {
        if (told_[seen].handle != handle) continue;
        if (const auto* found = std::get_if<Kind>(&told_[seen].payload)) return *found;
      }
      {
        std::unique_lock lock(mutex_);
        REQUIRE(changed_.wait_until(lock, deadline, [&] { return woken_; }));
        woken_ = false;
      }
      for (bool more = true; more;) {
        Outbox::Batch batch = runtime.take(SIZE_MAX);
        more = batch.more;
        for (Notice& notice : batch.notices) told_.push_back(std::move(notice));
      }
    }
  }

  template <typename Kind>
  std::size_t count(Handle handle) {
    return static_cast<std::size_t>(std::ranges::count_if(told_, [&](const Notice& notice) {
      return notice.handle == handle && std::holds_alternative<Kind>(notice.payload);
    }));
  }

  // It still serves.
  void expect_alive(Handle server) {
    runtime.status(server, ++request_);
    CHECK(expect<StatusReply>(server).request <= request_);
    CHECK(count<Closed>(server) == 0);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  std::deque<Notice> told_;
  RequestId request_ = 0;
};

engine::ProcessGroupOptions process_group_called(std::string kvsname) {
  engine::ProcessGroupOptions options;
  options.kvsname = std::move(kvsname);
  return options;
}

GroupOptions group_called(std::string kvsname) {
  GroupOptions options;
  options.group = process_group_called(std::move(kvsname));
  wire::agent::Program program;
  program.args = {"sleep", "1000"};
  options.programs = {program};
  return options;
}

TEST_CASE("runtime: an exception fails the server that it was for, and no other") {
  Owner owner;
  const Handle good =
      owner.runtime.open_server({.group = process_group_called("good"), .listen = {}, .name_server = {}});
  const Handle bad = owner.runtime.open_server(
      {.group = process_group_called("not a word"), .listen = {}, .name_server = {}});
  CHECK(owner.expect<Error>(bad).code == "ERR_PMI_OPTION");
  owner.expect<Closed>(bad);
  owner.expect<ServerOpened>(good);
  owner.expect_alive(good);
  owner.runtime.close_server(bad);
  owner.runtime.close_server(good);
  owner.expect<Closed>(good);
  CHECK(owner.count<Closed>(bad) == 1);
}

TEST_CASE("runtime: an exception in the middle of a launch is its result, and its processes go") {
  Owner owner;
  const Handle server =
      owner.runtime.open_server({.group = process_group_called("good"), .listen = {}, .name_server = {}});
  LaunchOptions options;
  options.group = group_called("launch");
  options.agent.path = WIREUP_AGENT;
  const Handle launch = owner.runtime.launch(std::move(options));
  const pid_t rank = owner.expect<RankStarted>(launch).pid;
  REQUIRE(::kill(rank, 0) == 0);
  // As an owner's fault that nothing has checked.
  owner.runtime.spawn(launch, 1, {{0, 1, {}}, group_called("not a word")});
  const LaunchResult& result = owner.expect<LaunchResult>(launch);
  REQUIRE(result.failure);
  CHECK(result.failure->reason == engine::FailureReason::agent);
  CHECK(result.failure->message.starts_with("inside wireup: kvsname"));
  CHECK(result.exit_code != 0);
  owner.expect<Closed>(launch);
  owner.expect_alive(server);
  const auto deadline = std::chrono::steady_clock::now() + kTimeout;
  while (::kill(rank, 0) == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(1ms);
  CHECK(::kill(rank, 0) < 0);
  CHECK(owner.count<Closed>(launch) == 1);
}

}  // namespace
}  // namespace wireup::runtime
