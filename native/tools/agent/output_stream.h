// Output on its way to a sink: of one pipe of one rank (PipeStream), or on host 0 of another host
// (HostStream). Threads: the reactor's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/pattern.h"
#include "tools/agent/sink.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

inline constexpr std::size_t kMaxLine = 64 << 10;
// How long the beginning of a line waits for the rest.
inline constexpr std::chrono::milliseconds kPartialDelay{200};

// Which output of which host.
struct Lane {
  std::uint32_t host = 0;
  std::uint32_t stream = 1;
  std::int64_t task = -1;

  auto operator<=>(const Lane&) const = default;
};

class OutputStream : public LineSource {
 public:
  enum class Result {
    nothing,  // there is nothing to read now
    lines,    // the last line has ended, or nothing waits for the rest of it
    in_line,  // the last line has not ended
    end,      // the stream has ended
  };

  ~OutputStream() override { sink_->forget(*this); }
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;

  const std::shared_ptr<Sink>& sink() const { return sink_; }
  // Of a HostStream; else null.
  virtual const Lane* lane() const { return nullptr; }

  // Reads once, and appends to the sink. `empty_is_end`: a pipe has ended if there is nothing to read.
  virtual Result read(os::Buffer& buffer, bool empty_is_end) = 0;
  // Whether read() has something to do although nothing arrives.
  virtual bool has_more() const { return false; }
  // Whether the owner is notified when there is something to read.
  virtual void watch(bool on) = 0;
  // When the beginning of the line has waited long enough, or the stream has been silent long enough.
  virtual os::Reactor::Clock::time_point due() const = 0;
  // Writes the beginning of the line, and lets other sources cut it.
  virtual void write_and_release() { sink_->release(*this); }
  virtual void end() { sink_->end(*this); }

  bool waiting = false;  // in Output::waiting_

 protected:
  OutputStream(std::shared_ptr<Sink> sink, bool labelled) : LineSource(labelled), sink_(std::move(sink)) {}

 private:
  std::shared_ptr<Sink> sink_;
};

class PipeStreamOwner {
 public:
  virtual ~PipeStreamOwner() = default;
  // The pipe can be read. May destroy the stream.
  virtual void on_stream_ready(OutputStream& stream) = 0;
};

class PipeStream final : public OutputStream, os::Handler {
 public:
  // Splits what it reads into lines. `label` is a pattern.
  PipeStream(os::Reactor& reactor, PipeStreamOwner& owner, std::shared_ptr<Sink> sink, os::UniqueFd pipe,
             std::string label, const RankNames& names);
  // Passes on what it reads at once.
  PipeStream(os::Reactor& reactor, PipeStreamOwner& owner, std::shared_ptr<Sink> sink, os::UniqueFd pipe);
  ~PipeStream() override { watch(false); }

  Result read(os::Buffer& buffer, bool empty_is_end) override;
  void watch(bool on) override;
  os::Reactor::Clock::time_point due() const override {
    return (partial_.empty() ? last_ : since_) + kPartialDelay;
  }
  void write_and_release() override;
  void end() override;

 private:
  void on_ready(std::uint32_t) override { owner_.on_stream_ready(*this); }
  void append_label(std::string& out) const override;
  Result feed(std::string_view bytes);
  void write_partial();

  os::Reactor& reactor_;
  PipeStreamOwner& owner_;
  os::UniqueFd pipe_;
  const bool by_lines_;
  std::string label_;  // a pattern, if it contains the time
  bool timed_ = false;
  RankNames names_;
  std::string partial_;
  bool begun_ = false;  // a part of the line has been written
  bool watched_ = false;
  os::Reactor::Clock::time_point last_;   // of the last read
  os::Reactor::Clock::time_point since_;  // of the first byte of partial_
};

class HostStreamOwner {
 public:
  virtual ~HostStreamOwner() = default;
  // Bytes have been written, so that take_credit() is not 0. Called while the sink flushes.
  virtual void on_stream_credit(const Lane& lane) = 0;
};

class HostStream final : public OutputStream {
 public:
  HostStream(HostStreamOwner& owner, std::shared_ptr<Sink> sink, const Lane& lane)
      : OutputStream(std::move(sink), true), owner_(owner), lane_(lane) {}

  const Lane* lane() const override { return &lane_; }
  // Queues output, and returns true. Returns false if the sender must not send it now.
  bool push(wire::agent::Output output);
  // The host is lost: the stream ends after what is queued.
  void push_end() { ends_ = true; }
  // How much of the output is written since the last call.
  std::uint32_t take_credit();
  // Whether output that has arrived is not yet written.
  bool is_behind() const { return unacknowledged_ > 0; }

  Result read(os::Buffer& buffer, bool empty_is_end) override;
  bool has_more() const override { return !queue_.empty() || ends_; }
  // push() is the event.
  void watch(bool) override {}
  os::Reactor::Clock::time_point due() const override { return last_ + kPartialDelay; }

 private:
  void append_label(std::string& out) const override { out += label_; }
  void on_written() override;

  HostStreamOwner& owner_;
  const Lane lane_;
  std::deque<wire::agent::Output> queue_;
  std::string label_;               // of the line that the next text continues
  std::size_t unacknowledged_ = 0;  // what the sender has no credit for
  std::size_t unwritten_ = 0;       // of it: what the sink has not written
  std::size_t owed_ = 0;            // of it: what it has written
  bool in_line_ = false;            // what was pushed has no newline at its end
  bool ends_ = false;
  os::Reactor::Clock::time_point last_;  // of the last read
};

}  // namespace wireup::agent
