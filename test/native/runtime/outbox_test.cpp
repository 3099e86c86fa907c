// The queue of notices to the owner: what is bounded in it, what is never dropped, and when the owner is
// woken.
#include "runtime/outbox.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

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

  void tell(Handle handle, engine::EventType type, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) outbox.tell(handle, event(type));
  }
};

template <typename T>
std::size_t count(const std::vector<Notice>& notices) {
  return static_cast<std::size_t>(std::ranges::count_if(
      notices, [](const Notice& notice) { return std::holds_alternative<T>(notice.payload); }));
}

TEST_CASE(
    "outbox: events that peers can repeat are kept up to a bound, the rest are counted in their place") {
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
  // There is room again.
  box.tell(1, engine::EventType::protocol_error, 2);
  CHECK(count<engine::Event>(box.outbox.take(kAll).notices) == 2);
}

TEST_CASE("outbox: one type of event, and one handle, takes no room from another") {
  Box box;
  box.tell(1, engine::EventType::rejected, 2 * kMaxWaitingEvents);
  box.tell(1, engine::EventType::barrier, kMaxWaitingEvents);
  box.tell(2, engine::EventType::rejected, kMaxWaitingEvents);
  const auto notices = box.outbox.take(kAll).notices;
  CHECK(count<engine::Event>(notices) == 3 * kMaxWaitingEvents);
  CHECK(count<EventsMissed>(notices) == 1);
}

TEST_CASE("outbox: what comes once is never dropped") {
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

TEST_CASE("outbox: the owner takes batches, and is woken only when the queue turns non-empty") {
  Box box;
  constexpr std::uint32_t kCount = 25;
  for (std::uint32_t rank = 0; rank < kCount; ++rank) box.outbox.notify(1, RankExited{rank, {}});
  std::uint32_t next = 0;
  for (const bool expected : {true, true, false}) {
    const auto [notices, more] = box.outbox.take(10);
    CHECK(more == expected);
    for (const Notice& notice : notices) CHECK(std::get<RankExited>(notice.payload).rank == next++);
    // It comes again for what it knows to be left.
    CHECK(box.wakes == 1);
  }
  CHECK(next == kCount);
  box.outbox.notify(1, RanksPrinted{});
  CHECK(box.wakes == 2);
}

TEST_CASE("outbox: events that the owner does not read are not queued") {
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

TEST_CASE("outbox: a handle that is closed leaves nothing behind, also where events follow") {
  Box box;
  box.tell(1, engine::EventType::rejected, kMaxWaitingEvents + 1);
  box.outbox.notify(1, Closed{});
  box.tell(1, engine::EventType::rejected, 1);
  CHECK(count<Closed>(box.outbox.take(kAll).notices) == 1);
  // Counted anew.
  box.tell(1, engine::EventType::rejected, kMaxWaitingEvents);
  CHECK(count<engine::Event>(box.outbox.take(kAll).notices) == kMaxWaitingEvents);
}

}  // namespace
}  // namespace wireup::runtime
