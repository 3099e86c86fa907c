// The agent's stdout or stderr as the place where labelled lines of many ranks are joined. A source's line is
// never split by another's: a line left open (a piece of a very long one) is ended with a newline before
// somebody else's text.
//
// What the fd does not take waits here; the owner stops feeding while blocked(), which bounds the memory.
// Threads: the reactor's.
#pragma once

#include <string>
#include <string_view>

#include "os/reactor.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class Sink;

class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  // A blocked sink has room again, or is broken. Never called from within flush().
  virtual void on_sink_ready(Sink& sink) = 0;
};

class Sink final : os::Handler {
 public:
  Sink(os::Reactor& reactor, int fd, SinkObserver& observer);
  ~Sink() override;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // `text` is one line with its newline, or a piece of one. It gets `label` unless it goes on with the line
  // that the same source left open.
  void append(const void* source, std::string_view label, std::string_view text);
  // Ends the line that `source` left open, if it did.
  void end_line(const void* source);
  void flush();

  bool blocked() const { return watched_; }
  // Writing failed (EPIPE: the reader has gone); everything is dropped from then on.
  bool broken() const { return broken_; }

 private:
  void on_ready(std::uint32_t events) override;
  void watch(bool on);

  os::Reactor& reactor_;
  SinkObserver& observer_;
  int number_;
  Stdio out_;
  std::string pending_;
  const void* open_line_ = nullptr;
  bool watched_ = false;
  bool broken_ = false;
};

}  // namespace wireup::agent
