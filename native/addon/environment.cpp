#include "addon/environment.h"

#include "addon/convert.h"

namespace wireup::addon {
namespace {

// In one turn of the event loop. They take about a millisecond; signals, timers and sockets need their turn.
// An agent sends up to 256 events at once.
constexpr std::size_t kMostNotices = 128;

}  // namespace

Environment::Environment(Napi::Env env, Napi::Function on_batch)
    : env_(env),
      on_batch_(Napi::Persistent(on_batch)),
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
  Napi::Array batch = Napi::Array::New(env, notices.size());
  for (std::uint32_t i = 0; i < notices.size(); ++i) {
    // Without a scope the handles of a whole batch would pile up.
    const Napi::HandleScope scope(env);
    batch.Set(i, to_object(env, notices[i]));
    if (std::holds_alternative<runtime::Closed>(notices[i].payload) && --open_ == 0) wake_.Unref(env);
  }
  on_batch_.Call({batch, Napi::Boolean::New(env, more)});
}

}  // namespace wireup::addon
