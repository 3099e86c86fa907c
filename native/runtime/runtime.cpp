#include "runtime/runtime.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "os/error.h"
#include "os/thread.h"

namespace wireup::runtime {
namespace {

// An agent ends its job at once when its socket closes. One that has not ended by then is killed.
constexpr std::chrono::seconds kAgentTimeout{2};

}  // namespace

// The reactor thread

Runtime::StopRequest::StopRequest(Runtime& owner)
    : runtime(owner), event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event) throw os::OsError::last("eventfd");
}

void Runtime::StopRequest::send() const noexcept {
  const std::uint64_t one = 1;
  // The counter is far from full, so the write cannot fail.
  [[maybe_unused]] const ssize_t ignored = ::write(event.get(), &one, sizeof one);
}

// What was posted before shutdown() runs first: it may be an abort to be sent.
void Runtime::StopRequest::on_ready(std::uint32_t) {
  runtime.stop_requested_ = true;
  runtime.reactor_->remove(event.get(), *this);
  runtime.reactor_->post(0, [this] { runtime.stop_now(); });
}

void Runtime::start_thread() {
  auto reactor = std::make_unique<os::Reactor>();
  auto stop_request = std::make_unique<StopRequest>(*this);
  auto reaper = std::make_unique<Reaper>(*reactor, [this] { stop_if_idle(); });
  reactor->on_failure(
      [this](os::Reactor::Owner owner, const std::exception_ptr& failure) { failed(owner, failure); });
  reactor->add(stop_request->event.get(), EPOLLIN, *stop_request);
  reactor_ = std::move(reactor);
  stop_request_ = std::move(stop_request);
  reaper_ = std::move(reaper);
  try {
    thread_ = os::start_thread("wireup-reactor", [this] { run(*reactor_); });
  } catch (...) {
    reaper_.reset();
    reactor_.reset();
    stop_request_.reset();
    throw;
  }
}

// `handle` is the reactor's owner of the function; 0: none.
void Runtime::post(Handle handle, os::Reactor::Function function) {
  if (shut_down_) return;
  if (!reactor_) start_thread();
  if (ended_) throw std::runtime_error("the event loop has failed");
  reactor_->post(handle, std::move(function));
}

// `function` makes what the new handle stands for. The time of its notices begins at `begin`.
Handle Runtime::open(os::Reactor::Clock::time_point begin, os::UniqueFunction<void(Handle)> function) {
  const Handle handle = ++last_handle_;
  outbox_.open(handle, begin);
  try {
    post(handle, [this, handle, function = std::move(function)]() mutable {
      if (outbox_.is_open(handle)) function(handle);
    });
  } catch (...) {
    outbox_.forget(handle);
    throw;
  }
  return handle;
}

void Runtime::run(os::Reactor& reactor) noexcept {
  for (;;) {
    try {
      reactor.run();
      break;
    } catch (...) {
      if (stop_requested_) break;
      // Nothing else is running, so all can go at once.
      const std::size_t failed = outbox_.fail_all("the event loop has failed, or memory is exhausted");
      drop_all();
      if (failed > 0) continue;
      // It has failed twice in a row.
      ended_ = true;
      outbox_.fail_all("the event loop has failed");
      break;
    }
  }
  drop_all();
  reaper_.reset();
}

void Runtime::drop_all() noexcept {
  clients_.clear();
  servers_.clear();
  name_servers_.clear();
  job_sockets_.clear();
  joins_.clear();
  launches_.clear();
  name_clients_.clear();
  owners_.clear();
  prepared_agent_.reset();
}

void Runtime::stop_now() {
  stopping_ = true;
  clients_.clear();
  servers_.clear();
  name_servers_.clear();
  job_sockets_.clear();
  joins_.clear();
  prepared_agent_.reset();
  for (auto& [handle, launch] : launches_) launch->abandon();
  reaper_->resume();
  reactor_->after(kAgentTimeout, [this] { reactor_->stop(); });
  stop_if_idle();
}

void Runtime::stop_if_idle() {
  if (stopping_ && launches_.empty() && reaper_->idle()) reactor_->stop();
}

void Runtime::shutdown() noexcept {
  if (std::exchange(shut_down_, true) || !reactor_) return;
  stop_request_->send();
  thread_.join();
}

// The ends of handles

void Runtime::drop(Handle handle) {
  servers_.erase(handle);
  name_servers_.erase(handle);
  job_sockets_.erase(handle);
  joins_.erase(handle);
  launches_.erase(handle);
  clients_.erase(handle);
  name_clients_.erase(handle);
  reactor_->forget(handle);
  std::erase_if(owners_, [&](const auto& entry) {
    if (entry.second != handle) return false;
    reactor_->forget(entry.first);
    return true;
  });
  stop_if_idle();
}

// Not at once: the object to drop may be the caller.
void Runtime::drop_later(Handle handle) {
  reactor_->post(0, [this, handle] { drop(handle); });
}

void Runtime::fail(Handle handle, const std::exception_ptr& failure, const char* code) {
  outbox_.fail(handle, [&] { return to_error(failure, code); });
  drop_later(handle);
}

void Runtime::fail(Handle handle, Error error) {
  outbox_.fail(handle, [&] { return std::move(error); });
  drop_later(handle);
}

void Runtime::failed(os::Reactor::Owner owner, const std::exception_ptr& failure) {
  // Ends the loop: an exit does not wait for what cannot be ended in good order.
  if (stopping_ || (stop_requested_ && owner == 0)) std::rethrow_exception(failure);
  if (owner != 0 && owner == prepared_owner_) {
    // The launch will start another agent.
    reactor_->post(0, [this, owner] {
      if (owner == prepared_owner_) prepared_agent_.reset();
      reactor_->forget(owner);
    });
    return;
  }
  const auto known = owners_.find(owner);
  const Handle handle = known == owners_.end() ? static_cast<Handle>(owner) : known->second;
  const auto launch = launches_.find(handle);
  if (launch != launches_.end() && outbox_.is_open(handle)) {
    try {
      launch->second->give_up("inside wireup: " + to_error(failure, "").message);
    } catch (...) {
      // The launch has no result then.
    }
  }
  fail(handle, failure, "ERR_PMI_INTERNAL");
}

}  // namespace wireup::runtime
