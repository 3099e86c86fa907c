// The queue of notices to the JavaScript thread: which notices are bounded, which are never dropped, and when
// that thread is woken.
#include "runtime/outbox.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <string>
#include <thread>

#include "os/support.h"
#include "runtime/faults.h"

namespace wireup::runtime {
namespace {

constexpr std::size_t kAll = 1 << 20;

engine::Event event(engine::EventType type, std::string message = {}) {
  engine::Event event{.type = type};
  event.message = std::move(message);
  return event;
}

struct Box {
  int wakes = 0;
  Outbox outbox{[this] { ++wakes; }};

  Box() {
    for (const Handle handle : {1, 2}) outbox.open(handle, os::Reactor::Clock::now());
  }

  void tell(Handle handle, engine::EventType type, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) outbox.tell(handle, event(type));
  }
};

template <typename T>
std::size_t count(const std::vector<Notice>& notices) {
  return static_cast<std::size_t>(std::ranges::count_if(
      notices, [](const Notice& notice) { return std::holds_alternative<T>(notice.payload); }));
}

TEST_CASE("outbox: events that peers can repeat are kept up to a bound, and the others are counted") {
  Box box;
  box.tell(1, engine::EventType::protocol_error, kMaxWaitingEvents + 100'000);
  box.outbox.notify(1, RanksPrinted{});
  box.tell(1, engine::EventType::protocol_error, 1);
  const auto [notices, more] = box.outbox.take(kAll);
  CHECK_FALSE(more);
  REQUIRE(notices.size() == kMaxWaitingEvents + 2);
  const auto* missed = std::get_if<EventsMissed>(&notices[kMaxWaitingEvents].payload);
  REQUIRE(missed != nullptr);
  CHECK(missed->type == engine::EventType::protocol_error);
  CHECK(missed->count == 100'001);
  CHECK(std::holds_alternative<RanksPrinted>(notices.back().payload));
  // The batch has made room.
  box.tell(1, engine::EventType::protocol_error, 2);
  CHECK(count<engine::Event>(box.outbox.take(kAll).notices) == 2);
}

TEST_CASE("outbox: the bound of one type of event and one handle does not affect others") {
  Box box;
  box.tell(1, engine::EventType::rejected, 2 * kMaxWaitingEvents);
  box.tell(1, engine::EventType::barrier, kMaxWaitingEvents);
  box.tell(2, engine::EventType::rejected, kMaxWaitingEvents);
  const auto notices = box.outbox.take(kAll).notices;
  CHECK(count<engine::Event>(notices) == 3 * kMaxWaitingEvents);
  CHECK(count<EventsMissed>(notices) == 1);
}

TEST_CASE("outbox: events that peers cannot repeat are never dropped") {
  Box box;
  constexpr std::size_t kMany = 3 * kMaxWaitingEvents;
  box.tell(1, engine::EventType::connected, kMany);
  box.tell(1, engine::EventType::finalized, kMany);
  for (std::size_t i = 0; i < kMany; ++i) box.outbox.notify(1, RankExited{static_cast<std::uint32_t>(i), {}});
  const auto notices = box.outbox.take(kAll).notices;
  CHECK(count<engine::Event>(notices) == 2 * kMany);
  CHECK(count<RankExited>(notices) == kMany);
  CHECK(count<EventsMissed>(notices) == 0);
}

TEST_CASE("outbox: the reader takes batches, and is woken only when the queue turns non-empty") {
  Box box;
  constexpr std::uint32_t kCount = 25;
  for (std::uint32_t rank = 0; rank < kCount; ++rank) box.outbox.notify(1, RankExited{rank, {}});
  std::uint32_t next = 0;
  for (const bool expected : {true, true, false}) {
    const auto [notices, more] = box.outbox.take(10);
    CHECK(more == expected);
    for (const Notice& notice : notices) CHECK(std::get<RankExited>(notice.payload).rank == next++);
    // The reader comes again by itself for the rest.
    CHECK(box.wakes == 1);
  }
  CHECK(next == kCount);
  box.outbox.notify(1, RanksPrinted{});
  CHECK(box.wakes == 2);
}

TEST_CASE("outbox: events of types that are not read are not queued") {
  Box box;
  Outbox::Types types{};
  types[static_cast<std::size_t>(engine::EventType::rejected)] = true;
  box.outbox.read(1, types);
  box.tell(1, engine::EventType::barrier, 5);
  box.tell(1, engine::EventType::finalized, 5);
  CHECK(box.wakes == 0);
  box.tell(1, engine::EventType::rejected, 1);
  box.tell(2, engine::EventType::barrier, 1);
  box.outbox.notify(1, RanksPrinted{});
  CHECK(box.outbox.take(kAll).notices.size() == 3);
}

TEST_CASE("outbox: notices for a handle that is not open are dropped") {
  Box box;
  box.tell(1, engine::EventType::rejected, kMaxWaitingEvents + 1);
  box.outbox.notify(1, Closed{});
  box.tell(1, engine::EventType::rejected, 1);
  box.outbox.notify(1, Closed{});
  box.outbox.fail(1, [] { return Error{"code", "message"}; });
  box.outbox.forget(2);
  box.outbox.notify(2, RanksPrinted{});
  box.outbox.notify(3, RanksPrinted{});
  const auto notices = box.outbox.take(kAll).notices;
  CHECK(count<Closed>(notices) == 1);
  CHECK(count<Error>(notices) == 0);
  CHECK(std::holds_alternative<Closed>(notices.back().payload));
  CHECK_FALSE(box.outbox.is_open(1));
}

TEST_CASE("outbox: every handle can be failed and closed without memory") {
  Box box;
  {
    const wireup::test::Fault fault({wireup::test::FaultKind::allocation, wireup::test::FaultThread::own,
                                     wireup::test::FaultLength::from_then_on},
                                    1);
    box.outbox.fail(1, [] { return Error{"ERR_PMI_INTERNAL", "a text that needs memory of its own"}; });
    box.outbox.fail_all("another text that needs memory of its own");
  }
  const auto notices = box.outbox.take(kAll).notices;
  REQUIRE(notices.size() == 4);
  for (const std::size_t i : {0, 2}) {
    CHECK(std::get<Error>(notices[i].payload).message == "out of memory");
    CHECK(std::holds_alternative<Closed>(notices[i + 1].payload));
  }
  CHECK(box.wakes == 1);
}

TEST_CASE("outbox: a notice that finds no memory leaves the queue as it was") {
  const wireup::test::FaultPlan plan{wireup::test::FaultKind::allocation, wireup::test::FaultThread::own,
                                     wireup::test::FaultLength::once};
  const std::uint64_t faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
    Box box;
    box.tell(1, engine::EventType::rejected, kMaxWaitingEvents);
    const engine::Event rejected = event(engine::EventType::rejected);
    bool hit = false;
    std::size_t sent = 0;
    {
      const wireup::test::Fault fault(plan, nth);
      try {
        box.outbox.tell(1, rejected);
        ++sent;
        box.outbox.notify(1, RanksPrinted{});
        ++sent;
      } catch (const std::bad_alloc&) {
      }
      hit = fault.hit();
    }
    CHECK(box.outbox.take(kAll).notices.size() == kMaxWaitingEvents + sent);
    return hit;
  });
  CHECK(faults >= 2);
}

TEST_CASE("outbox: one thread fills it while another empties it, and nothing is lost or reordered") {
  constexpr std::uint32_t kCount = 20'000;
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = false;
  Outbox outbox([&] {
    const std::lock_guard lock(mutex);
    woken = true;
    changed.notify_one();
  });
  outbox.open(1, os::Reactor::Clock::now());
  std::thread filler([&] {
    for (std::uint32_t rank = 0; rank < kCount; ++rank) outbox.notify(1, RankExited{rank, {}});
    outbox.close(1);
  });
  std::uint32_t next = 0;
  bool closed = false;
  bool in_order = true;
  while (!closed) {
    {
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, os::test::kTimeout, [&] { return woken; })) break;
      woken = false;
    }
    for (bool more = true; more;) {
      Outbox::Batch batch = outbox.take(100);
      more = batch.more;
      for (const Notice& notice : batch.notices) {
        closed = std::holds_alternative<Closed>(notice.payload);
        const auto* exited = std::get_if<RankExited>(&notice.payload);
        if (exited != nullptr) in_order = in_order && exited->rank == next++;
      }
    }
  }
  filler.join();
  CHECK(closed);
  CHECK(in_order);
  CHECK(next == kCount);
}

}  // namespace
}  // namespace wireup::runtime
