// Threads of wireup in a process that belongs to another program, such as Node.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <utility>

namespace wireup::os {

// Whether the calling thread is the main thread.
inline bool is_main_thread() { return ::syscall(SYS_gettid) == ::getpid(); }

// Starts a thread that blocks all signals, because the program's signal handlers must not run on it. `name`
// is shown by `top -H` and gdb, at most 15 characters. Throws std::system_error.
template <typename Function>
std::thread start_thread(const char* name, Function function) {
  // A new thread inherits the signal mask of its creator.
  struct AllSignalsBlocked {
    AllSignalsBlocked() {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    sigset_t before{};
  };
  const AllSignalsBlocked blocked;
  std::thread thread(std::move(function));
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace wireup::os
