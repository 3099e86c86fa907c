#include "addon/environment.h"

#include <algorithm>
#include <variant>
#include <vector>

namespace wireup::addon {
namespace {

// In one turn of the event loop, which has at most about 0.3 ms of work by them. Signals, timers and sockets
// need their turn. An agent sends up to 256 events at once.
constexpr std::size_t kMostNotices = 32;

}  // namespace

Environment::Environment(Napi::Env env, Napi::Function on_batch)
    : env_(env),
      on_batch_(Napi::Persistent(on_batch)),
      batch_(env, kMostNotices),
      wake_(Wake::New(env, "wireup", 0, 1, this)),
      runtime_([this] { wake_.NonBlockingCall(); }) {
  wake_.Unref(env);
  // Hooks run in reverse order: this one before that of the wake-up, which the reactor thread may use until
  // the runtime has shut down.
  napi_add_env_cleanup_hook(env, &Environment::on_cleanup, this);
}

Environment::~Environment() {
  napi_remove_env_cleanup_hook(env_, &Environment::on_cleanup, this);
  runtime_.shutdown();
}

void Environment::on_cleanup(void* self) { static_cast<Environment*>(self)->runtime_.shutdown(); }

runtime::Handle Environment::opened(runtime::Handle handle) {
  if (open_++ == 0) wake_.Ref(env_);
  return handle;
}

void Environment::on_wake(Napi::Env env, Napi::Function, Environment* self, void*) {
  // Without an environment, Node is only emptying the queue at its end.
  if (static_cast<napi_env>(env) != nullptr) self->deliver(env);
}

void Environment::deliver(Napi::Env env) {
  const auto [notices, more] = runtime_.take(kMostNotices);
  std::vector<napi_value> arguments = batch_.write(env, notices);
  arguments.push_back(Napi::Boolean::New(env, more));
  const auto closed = std::ranges::count_if(notices, [](const runtime::Notice& notice) {
    return std::holds_alternative<runtime::Closed>(notice.payload);
  });
  open_ -= static_cast<std::size_t>(closed);
  if (closed > 0 && open_ == 0) wake_.Unref(env);
  on_batch_.Call(arguments);
}

}  // namespace wireup::addon
