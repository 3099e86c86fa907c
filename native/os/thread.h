// Threads of ours in somebody else's process.
#pragma once

#include <signal.h>

#include <thread>
#include <utility>

namespace wireup::os {

// Starts a thread that takes no signal: those are meant for the program it lives in, whose handlers must not run on
// it. Throws std::system_error.
template <typename Function>
std::thread start_thread(Function function) {
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
  return std::thread(std::move(function));
}

}  // namespace wireup::os
