// A sink of another host than 0. It sends lines, or the output of one task, to the agent of host 0 as Output.
// It is blocked while the messages without Credit leave no room for the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tools/agent/host_messages.h"
#include "tools/agent/sink.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class LinkSink final : public Sink {
 public:
  // `task`: -1, or the task whose output this is.
  LinkSink(HostMessages& hosts, std::uint32_t stream, std::int64_t task, bool labelled,
           SinkObserver& observer);

  void end(LineSource& source) override;
  void flush() override;
  void drop() override;
  bool blocked() const override { return blocked_; }
  bool done() const override { return broken() || dropped_ || (!blocked_ && unacknowledged_ == 0); }

  // Host 0 has written so much. Returns false if it is more than was sent.
  bool acknowledge(std::size_t bytes);
  // Host 0 cannot write it.
  void refuse(int error);

 private:
  void before_text(const LineSource& source) override;
  void break_line(bool cut) override;
  std::size_t next_size() const;

  HostMessages& hosts_;
  SinkObserver& observer_;
  const std::uint32_t stream_;
  const std::int64_t task_;
  const std::size_t window_;
  std::size_t unacknowledged_ = 0;
  std::string label_;  // of the source of pending_
  wire::agent::OpenLine open_line_ = wire::agent::OpenLine::continues;
  bool in_line_ = false;  // what was sent has no newline at its end
  bool end_ = false;      // the task's output has ended, and host 0 must know
  bool blocked_ = false;
  bool dropped_ = false;
};

}  // namespace wireup::agent
