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

ChildHost::ChildHost(os::Reactor& reactor, runtime::Reaper& reaper, wire::agent::StartHost start,
                     ChildHostObserver& observer)
    : reactor_(reactor), reaper_(reaper), start_(std::move(start)), observer_(observer) {}

runtime::HostCommandSpec ChildHost::spec() const {
  return {.host = start_.name,
          .command = start_.command,
          .environment = start_.environment,
          .stage = start_.stage,
          .same_host = start_.same_host};
}

void ChildHost::start(runtime::StartedHostCommand command) {
  command_ = std::make_unique<runtime::HostCommand>(reactor_, reaper_, std::move(command),
                                                    static_cast<runtime::HostCommandObserver&>(*this));
  for (std::string& packet : std::exchange(packets_, {})) command_->send(std::move(packet));
  limit_start();
}

void ChildHost::wait_for_join() { limit_start(); }

void ChildHost::expect(runtime::ZmqHub& hub, const std::string& credential) {
  take(hub.expect(start_.host, credential, nullptr, static_cast<runtime::LinkObserver&>(*this)));
}

void ChildHost::adopt(runtime::ZmqHub& hub, const runtime::ZmqHub::Joiner& peer) {
  take(hub.adopt(start_.host, peer, nullptr, static_cast<runtime::LinkObserver&>(*this)));
}

void ChildHost::take(std::unique_ptr<runtime::ZmqLink> link) {
  link_ = std::move(link);
  for (std::string& packet : std::exchange(packets_, {})) link_->send(std::move(packet));
}

void ChildHost::reach_by_command(wire::agent::StartHost start) {
  reactor_.cancel(std::exchange(timer_, 0));
  start_ = std::move(start);
}

void ChildHost::limit_start() {
  const std::chrono::milliseconds timeout(start_.timeout_ms);
  if (timeout == std::chrono::milliseconds::zero()) return;
  timer_ = reactor_.after(timeout, [this, timeout] {
    timer_ = 0;
    late_ = true;
    const std::string why = "no answer within " + runtime::in_words(timeout);
    if (command_) return command_->give_up(why);
    observer_.on_child_end(*this, why);
  });
}

void ChildHost::send(std::string packet) {
  if (command_) {
    command_->send(std::move(packet));
  } else if (link_) {
    link_->send(std::move(packet));
  } else {
    packets_.push_back(std::move(packet));
  }
}

ChildHost::~ChildHost() { reactor_.cancel(timer_); }

void ChildHost::set_ready() {
  ready_ = true;
  reactor_.cancel(std::exchange(timer_, 0));
  for (const std::string& line : std::exchange(lines_, {}))
    observer_.on_child_line(*this, start_.name + ": " + line);
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
  if (ready_) return observer_.on_child_line(*this, start_.name + ": " + line);
  lines_.push_back(line);
  if (lines_.size() > kMaxLines) lines_.pop_front();
}

}  // namespace wireup::agent
