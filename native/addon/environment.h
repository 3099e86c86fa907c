// The native side of one Node environment (the main thread or a worker): its Runtime, the callback that takes
// the notices, and the wake-up from the reactor thread to the JavaScript thread.
//
// An open handle keeps the process alive. When the environment ends, its jobs are ended and the reactor
// thread is joined before Node continues: see Runtime::shutdown().
//
// Exceptions: node-addon-api turns every C++ exception of a call, of the wake-up and of the module's init
// into a JavaScript exception (NODE_ADDON_API_CPP_EXCEPTIONS_ALL). The clean-up hook and the destructor call
// Runtime::shutdown(), which does not throw.
//
// Threads: the JavaScript thread's.
#pragma once

#include <napi.h>

#include "addon/notice_batch.h"
#include "runtime/runtime.h"

namespace wireup::addon {

class Environment {
 public:
  Environment(Napi::Env env, Napi::Function on_batch);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  runtime::Runtime& runtime() { return runtime_; }
  // Called for each new handle: the process stays alive until the handle's Closed has been delivered.
  runtime::Handle opened(runtime::Handle handle);
  // Passes the next batch to the callback, and whether notices are left. If so, the callback must call
  // deliver() again, in another turn of the event loop.
  void deliver(Napi::Env env);

 private:
  static void on_wake(Napi::Env env, Napi::Function, Environment* self, void*);
  static void on_cleanup(void* self);

  using Wake = Napi::TypedThreadSafeFunction<Environment, void, &Environment::on_wake>;

  Napi::Env env_;
  Napi::FunctionReference on_batch_;
  NoticeBatch batch_;
  Wake wake_;
  runtime::Runtime runtime_;
  std::size_t open_ = 0;
};

}  // namespace wireup::addon
