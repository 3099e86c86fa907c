// Threads of ours in somebody else's process.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <utility>

namespace wireup::os {

// Whether the calling thread is the process's first.
inline bool is_main_thread() { return ::syscall(SYS_gettid) == ::getpid(); }

// Starts a thread that takes no signal: those are meant for the program it lives in, whose handlers must not
// run on it. `name` is what `top -H` and gdb call it, of 15 letters at most. Throws std::system_error.
template <typename Function>
std::thread start_thread(const char* name, Function function) {
  // A thread has its creator's mask from birth.
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
