// A sink that writes to an fd of this host: the agent's stdout or stderr, a file, or the pipe of a task.
#pragma once

#include <string>
#include <string_view>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/sink.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class FdSink final : public Sink, os::Handler {
 public:
  // For the agent's own fd 1 or 2.
  FdSink(os::Reactor& reactor, int fd, std::string name, bool labelled, SinkObserver& observer);
  // For a file or pipe that only this agent writes to through this open file description.
  FdSink(os::Reactor& reactor, os::UniqueFd file, std::string name, bool labelled, SinkObserver& observer);
  ~FdSink() override;

  // Shows a line on the terminal until the first append(). An empty line removes it. Does nothing after the
  // first append(), or if the fd is not a terminal.
  void show_status(std::string_view line);
  // Whether lines have been written to this terminal.
  bool printed() const { return printed_; }

  void flush() override;
  void drop() override;
  bool blocked() const override { return watched_; }

 private:
  void on_ready(std::uint32_t events) override;
  void before_text(const LineSource& source) override;
  void break_line(bool cut) override;
  void watch(bool on);

  os::Reactor& reactor_;
  SinkObserver& observer_;
  Stdio out_;
  const bool terminal_;
  bool status_ = false;
  bool printed_ = false;
  bool watched_ = false;
};

}  // namespace wireup::agent
