#include "tools/agent/job_end.h"

#include <csignal>
#include <set>
#include <string>
#include <utility>

#include "runtime/words.h"

namespace wireup::agent {
namespace {

using std::chrono::milliseconds;

// After the launcher has gone, the job must end within two seconds. A process that is stuck in the kernel (a
// dead network file system) is left to init.
constexpr milliseconds kAbandonLimit{1500};
// After the grace period an agent's ranks have received KILL. A busy host takes seconds to end many large
// processes. The interval is that of the checks.
constexpr milliseconds kDoneLimit{10'000};
constexpr milliseconds kDoneCheck{500};
// Interval at which ranks that still run receive KILL again.
constexpr milliseconds kKillAgain{100};

}  // namespace

JobEnd::JobEnd(os::Reactor& reactor, Router& router, Ranks& ranks, Cgroup& cgroup,
               const std::unique_ptr<Output>& output, std::function<void()> on_done)
    : reactor_(reactor),
      router_(router),
      ranks_(ranks),
      cgroup_(cgroup),
      output_(output),
      on_done_(std::move(on_done)),
      descendants_(reactor, ranks, router) {}

JobEnd::~JobEnd() {
  reactor_.cancel(kill_timer_);
  reactor_.cancel(limit_timer_);
  reactor_.cancel(children_timer_);
}

void JobEnd::end(milliseconds grace) {
  const auto when = os::Reactor::Clock::now() + grace;
  if (phase_ == Phase::serving) {
    ranks_.end_all();
    phase_ = Phase::ending;
    watch_children();
  } else if (phase_ == Phase::sweeping || phase_ == Phase::draining ||
             (phase_ == Phase::ending && ranks_.none_running())) {
    // If the agents below have not ended, this also limits how long they wait for this one to write their
    // output.
    return drop_output_at(when);
  } else if (phase_ != Phase::ending || when >= kill_at_) {
    return;
  }
  kill_at_ = when;
  if (ranks_.none_running()) return sweep_if_over();
  reactor_.cancel(kill_timer_);
  kill_timer_ = reactor_.at(when, [this] { kill_ranks(); });
}

void JobEnd::watch_children() {
  if (router_.host() != wire::agent::kOwnHost) return;
  children_timer_ = reactor_.after(kDoneCheck, [this] { check_children(); });
}

// Checks are counted, and not the time, because this process may have been stopped.
void JobEnd::check_children() {
  children_timer_ = 0;
  if (phase_ != Phase::ending || router_.children_gone()) return;
  std::set<std::uint32_t> waiting;
  if (!drops_output_) {
    for (const std::uint32_t host : output_->hosts_that_wait())
      waiting.insert(router_.child_of(host).value_or(host));
  }
  const bool due = os::Reactor::Clock::now() >= kill_at_;
  watch_children();
  for (const std::uint32_t child : router_.unfinished()) {
    if (!due || waiting.contains(child) || ++late_[child] < kDoneLimit / kDoneCheck) continue;
    router_.lose(child, "it did not end within " + runtime::in_words(kDoneLimit) + " after its ranks had to");
  }
}

// The output of the agents below still arrives, and the commands that reach them are children of this
// process.
void JobEnd::sweep_if_over() {
  if (phase_ == Phase::ending && ranks_.none_running() && router_.children_gone()) sweep();
}

// Repeats until the pidfds report that all ranks have ended. A rank that runs as another user cannot be
// signalled now, but perhaps later.
void JobEnd::kill_ranks() {
  kill_timer_ = 0;
  if (ranks_.none_running()) return;
  ranks_.signal_all(SIGKILL);
  cgroup_.kill();
  kill_timer_ = reactor_.after(kKillAgain, [this] { kill_ranks(); });
}

void JobEnd::sweep() {
  phase_ = Phase::sweeping;
  reactor_.cancel(std::exchange(kill_timer_, 0));
  cgroup_.kill();
  descendants_.end([this] {
    phase_ = Phase::draining;
    output_->show_status({});
    if (drops_output_) output_->drop();
    output_->drain([this] { done(); });
  });
}

void JobEnd::drop_output_at(os::Reactor::Clock::time_point when) {
  if (limit_timer_ != 0 && when >= drop_at_) return;
  reactor_.cancel(limit_timer_);
  drop_at_ = when;
  limit_timer_ = reactor_.at(when, [this] {
    limit_timer_ = 0;
    drops_output_ = true;
    if (phase_ != Phase::draining) return;
    output_->drop();
    done();
  });
}

void JobEnd::done() {
  phase_ = Phase::done;
  on_done_();
}

void JobEnd::abandon() {
  if (phase_ == Phase::done || phase_ == Phase::abandoned) return;
  phase_ = Phase::abandoned;
  reactor_.cancel(std::exchange(kill_timer_, 0));
  reactor_.cancel(std::exchange(limit_timer_, 0));
  reactor_.cancel(std::exchange(children_timer_, 0));
  kill_ranks();
  cgroup_.kill();
  if (output_) output_->drop();
  limit_timer_ = reactor_.after(kAbandonLimit, on_done_);
  descendants_.end(on_done_);
}

}  // namespace wireup::agent
