// What one Node environment (the main thread or a worker) has of wireup: its Runtime, the callback that takes
// the notices, and the wake-up that crosses from the reactor thread to the JavaScript thread.
//
// The process is kept alive while a handle is open. When the environment ends, its jobs are ended and the
// reactor is joined before Node goes on: an agent leaves within milliseconds of its socket's end.
//
// Threads: the JavaScript thread's.
#pragma once

#include <napi.h>

#include "runtime/runtime.h"

namespace wireup::addon {

class Environment {
 public:
  Environment(Napi::Env env, Napi::Function on_batch);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  runtime::Runtime& runtime() { return runtime_; }
  // A handle was given out: the process stays alive until its Closed has been told.
  runtime::Handle opened(runtime::Handle handle);
  // Gives the callback the next batch, and whether more is left, for which it is to call again, in another
  // turn of the event loop.
  void deliver(Napi::Env env);

 private:
  static void on_wake(Napi::Env env, Napi::Function, Environment* self, void*);
  static void on_cleanup(void* self);

  using Wake = Napi::TypedThreadSafeFunction<Environment, void, &Environment::on_wake>;

  Napi::Env env_;
  Napi::FunctionReference on_batch_;
  Wake wake_;
  runtime::Runtime runtime_;
  std::size_t open_ = 0;
};

}  // namespace wireup::addon
