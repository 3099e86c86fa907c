// The queue of notices from the reactor thread to the JavaScript thread. The reactor thread appends, the
// JavaScript thread takes batches. The JavaScript thread is woken only when the queue turns non-empty; while
// notices are left, it comes again by itself.
//
// A handle is open from open() to its Closed. Notices for any other handle are dropped. Each handle has the
// memory for its last two notices (an Error and Closed) from the start, so that it can always be closed.
//
// Events that peers can repeat without end are bounded for each handle and each type of event, so that a
// flood of one type displaces no other notice. Events over the bound are counted in an EventsMissed. Lines of
// a recording are bounded too: what is dropped is counted in TraceLines without lines. No other notice is
// ever dropped. Events of types that the calling process does not read are not queued.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "os/reactor.h"
#include "runtime/notice.h"

namespace wireup::runtime {

// How many repeatable events of one type wait for a reader that is busy for a moment. They use up to 2 MiB
// with their texts.
inline constexpr std::size_t kMaxWaitingEvents = 4096;

class Outbox final : public NoticeSink {
 public:
  // `wake` is called on the thread that made the queue non-empty. It must not throw.
  explicit Outbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Any thread. Opens the handle. Its notices carry the time since `begin`. Throws std::bad_alloc; then the
  // handle is not open.
  void open(Handle handle, os::Reactor::Clock::time_point begin);
  // Any thread. Undoes open(): the handle is gone without a Closed.
  void forget(Handle handle);
  // Any thread.
  bool is_open(Handle handle);

  // Any thread. Throws std::bad_alloc, but never for Closed.
  void notify(Handle handle, Payload payload, std::uint32_t group = 0, When when = {}) override;
  void tell(Handle handle, const engine::Event& event, std::uint32_t group = 0, When when = {}) override;
  // Any thread. Appends Closed. Needs no memory.
  void close(Handle handle) noexcept;
  // Any thread. Appends the error that `make` returns, then Closed. Needs no memory beside what `make` needs;
  // if `make` throws, the error says "out of memory".
  template <typename Make>
  void fail(Handle handle, Make make) noexcept {
    Error error;
    bool made = false;
    try {
      error = make();
      made = true;
    } catch (...) {
    }
    close(handle, made ? &error : nullptr);
  }
  // Any thread. Fails every open handle with the same error. Returns how many were open.
  std::size_t fail_all(const char* message) noexcept;

  // Any thread. Returns the oldest notices, at most `most`. `more`: others are left, for which there will be
  // no wake-up.
  struct Batch {
    std::vector<Notice> notices;
    bool more = false;
  };
  Batch take(std::size_t most);

  // Any thread. Sets the types of events that the calling process reads from now on. Before the first call it
  // reads all.
  using Types = std::array<bool, engine::kEventTypes>;
  void read(Handle handle, const Types& types);

 private:
  struct Waiting {
    std::size_t count = 0;           // repeatable events in the queue
    EventsMissed* missed = nullptr;  // in the queue, if the last event of the type was dropped
  };
  struct Reader {
    Reader() { wanted.fill(true); }
    Types wanted;
    os::Reactor::Clock::time_point begin;
    std::array<Waiting, engine::kEventTypes> waiting;
    std::size_t trace = 0;                // bytes of TraceLines in the queue
    TraceLines* trace_dropped = nullptr;  // in the queue, if the last lines were dropped
    // An Error and Closed, made by open(); empty once the handle is closed.
    std::list<Notice> last;
  };

  Reader* find_open(Handle handle);
  void push(Reader& reader, Handle handle, Payload payload, std::uint32_t group, When when);
  void push(Reader& reader, Handle handle, const engine::Event& event, std::uint32_t group, When when);
  // Adds to the last one of the type, if no event of the type has come since.
  void push(Reader& reader, Handle handle, const EventsMissed& missed);
  void push(Reader& reader, Handle handle, TraceLines lines);
  void close(Handle handle, Error* error) noexcept;
  void splice_last(Reader& reader, Error* error) noexcept;

  std::function<void()> wake_;
  std::mutex mutex_;
  std::list<Notice> queue_;
  std::unordered_map<Handle, Reader> readers_;  // until the handle's Closed has been taken
};

}  // namespace wireup::runtime
