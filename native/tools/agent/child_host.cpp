#include "tools/agent/child_host.h"

#include <utility>

namespace wireup::agent {
namespace {

// Lines that are kept until the agent is ready: a banner of a login, warnings of ssh.
constexpr std::size_t kMaxLines = 64;

// An agent that has sent Done ends within milliseconds; its command may take a little longer.
constexpr std::chrono::milliseconds kLeave{2000};

runtime::HostCommandSpec to_spec(wire::agent::StartHost start) {
  return {.host = std::move(start.name),
          .command = std::move(start.command),
          .environment = std::move(start.environment),
          .stage = std::move(start.stage),
          .timeout = std::chrono::milliseconds(start.timeout_ms),
          .same_host = start.same_host};
}

}  // namespace

ChildHost::ChildHost(os::Reactor& reactor, runtime::Reaper& reaper, wire::agent::StartHost start,
                     ChildHostObserver& observer)
    : reactor_(reactor),
      host_(start.host),
      name_(start.name),
      timeout_(start.timeout_ms),
      observer_(observer),
      command_(reactor, reaper, to_spec(std::move(start)),
               static_cast<runtime::HostCommandObserver&>(*this)) {}

ChildHost::~ChildHost() { reactor_.cancel(timer_); }

void ChildHost::on_host_up() {
  if (timeout_ == std::chrono::milliseconds::zero()) return;
  timer_ = reactor_.after(timeout_, [this] {
    timer_ = 0;
    observer_.on_child_end(*this, "the agent on " + name_ + " did not report that it is ready");
  });
}

void ChildHost::set_ready() {
  ready_ = true;
  reactor_.cancel(std::exchange(timer_, 0));
  for (const std::string& line : std::exchange(lines_, {}))
    observer_.on_child_line(*this, name_ + ": " + line);
}

void ChildHost::set_done() {
  done_ = true;
  reactor_.cancel(timer_);
  timer_ = reactor_.after(kLeave, [this] {
    timer_ = 0;
    observer_.on_child_end(*this, {});
  });
}

void ChildHost::on_host_line(const std::string& line) {
  if (ready_) return observer_.on_child_line(*this, name_ + ": " + line);
  lines_.push_back(line);
  if (lines_.size() > kMaxLines) lines_.pop_front();
}

}  // namespace wireup::agent
