#include "tools/agent/child_host.h"

#include <utility>

#include "runtime/words.h"

namespace wireup::agent {
namespace {

// Lines that are kept until the agent is ready: a banner of a login, warnings of ssh.
constexpr std::size_t kMaxLines = 64;

// An agent that has sent Done ends within milliseconds; its command may take a little longer.
constexpr std::chrono::milliseconds kLeave{2000};

}  // namespace

runtime::HostCommandSpec to_spec(const wire::agent::StartHost& start) {
  return {.host = start.name,
          .command = start.command,
          .environment = start.environment,
          .stage = start.stage,
          .same_host = start.same_host};
}

ChildHost::ChildHost(os::Reactor& reactor, runtime::Reaper& reaper, const wire::agent::StartHost& start,
                     runtime::StartedHostCommand command, ChildHostObserver& observer)
    : reactor_(reactor),
      host_(start.host),
      name_(start.name),
      observer_(observer),
      command_(reactor, reaper, std::move(command), static_cast<runtime::HostCommandObserver&>(*this)) {
  const std::chrono::milliseconds timeout(start.timeout_ms);
  if (timeout == std::chrono::milliseconds::zero()) return;
  timer_ = reactor_.after(timeout, [this, timeout] {
    timer_ = 0;
    command_.give_up("no answer within " + runtime::in_words(timeout));
  });
}

ChildHost::~ChildHost() { reactor_.cancel(timer_); }

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
