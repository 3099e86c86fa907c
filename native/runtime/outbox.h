// The queue of notices between the reactor thread and the owner's: filled by one, taken in batches by the
// other. The owner is woken only when the queue turns non-empty; while something is left it comes again by
// itself.
//
// What peers can repeat without end is bounded, a handle and a type of event at a time, so that those who
// repeat one thing (strangers, say) push out nothing else: what is over the bound is counted in an
// EventsMissed. Nothing else is ever dropped. Events of types that the owner does not read are not queued at
// all.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "os/reactor.h"
#include "runtime/notice.h"

namespace wireup::runtime {

// Repeatable events of one type that wait for the owner: enough for one that is busy for a moment. With their
// texts 2 MiB.
inline constexpr std::size_t kMaxWaitingEvents = 4096;

class Outbox final : public NoticeSink {
 public:
  // `wake` is called on the reactor thread.
  explicit Outbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Any thread. What comes for the handle is told with the time since then.
  void begin(Handle handle, os::Reactor::Clock::time_point when);

  void notify(Handle handle, Payload payload, std::uint32_t group = 0) override;
  void tell(Handle handle, const engine::Event& event, std::uint32_t group = 0) override;

  // Any thread. The oldest notices, `most` at most; `more`: others are left, for which there is no wake-up.
  struct Batch {
    std::vector<Notice> notices;
    bool more = false;
  };
  Batch take(std::size_t most);

  // Any thread. The types of events that the owner reads, from now on; all, until it says so.
  using Types = std::array<bool, engine::kEventTypes>;
  void read(Handle handle, const Types& types);

 private:
  struct Waiting {
    std::size_t count = 0;           // repeatable ones in the queue
    EventsMissed* missed = nullptr;  // in the queue, when the last of the type was dropped
  };
  struct Reader {
    Reader() { wanted.fill(true); }
    Types wanted;
    os::Reactor::Clock::time_point begin = os::Reactor::Clock::now();
    std::array<Waiting, engine::kEventTypes> waiting;
  };

  // True when the queue was empty.
  bool push(Handle handle, Payload payload, std::uint32_t group);
  bool push(Reader& reader, Handle handle, const engine::Event& event, std::uint32_t group);

  std::function<void()> wake_;
  std::mutex mutex_;
  std::deque<Notice> queue_;
  std::unordered_map<Handle, Reader> readers_;  // until its Closed has been taken
};

}  // namespace wireup::runtime
