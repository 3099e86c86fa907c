// Records what crosses the connections of PMI servers, into a buffer that a receiver empties. Nothing waits
// for the receiver: while it is slow the buffer grows to its limit, then records are dropped, and a record
// `dropped` stands in their place.
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "os/reactor.h"
#include "wire/agent_messages.h"
#include "wire/recording.h"

namespace wireup::runtime {

// Bytes that wait for the receiver. A record may exceed it by its own length.
inline constexpr std::size_t kMaxTraceBuffer = 4 << 20;

// Whole lines of a recording.
struct TraceLines {
  std::string lines;
  std::uint64_t records = 0;  // in `lines`
  std::uint64_t dropped = 0;  // missing before or between them
};

struct TraceReceiver {
  std::function<void(TraceLines lines)> take;
  // While it returns true, take() is not called.
  std::function<bool()> is_slow = [] { return false; };
};

class Trace {
 public:
  // `host`: stands in each record; empty: none does.
  Trace(os::Reactor& reactor, const wire::agent::TracePlan& plan, std::string host, TraceReceiver receiver);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  // When the recording has started, by this host's clock. Without this call it is TracePlan::start_ns, which
  // is right on the launcher's own machine.
  void set_start(os::Reactor::Clock::time_point start) { start_ = start; }
  // Microseconds since the start of the recording.
  std::uint64_t now() const;
  bool keeps_secrets() const { return plan_.secrets; }

  // The heads' `host` is set here. Records of ranks that are not recorded are ignored.
  void message(wire::RecordHead head, wire::Side side, const wire::CutMessage& message, bool masked);
  void event(wire::RecordHead head, const wire::RecordedEvent& event);

  // Passes on everything that waits, also if the receiver is slow.
  void finish();

 private:
  // Whether the record is kept. If so, it belongs at the end of open_.
  bool admit(wire::RecordHead& head);
  void added();
  void close_open();
  void pass_on();
  void arm(os::Reactor::Clock::duration delay);

  os::Reactor& reactor_;
  wire::agent::TracePlan plan_;
  wire::RecordForm form_;
  std::string host_;
  TraceReceiver receiver_;
  os::Reactor::Clock::time_point start_;
  std::deque<TraceLines> full_;
  TraceLines open_;
  std::size_t waiting_ = 0;    // bytes in full_
  std::uint64_t dropped_ = 0;  // since the last record
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::runtime
