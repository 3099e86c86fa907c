// The state of libpmi in a process: one server and one lock. No exception passes from C++ to C here.
#pragma once

#include <wireup/pmi.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>

#include "tools/libpmi/blocking_client.h"

namespace wireup::libpmi {

struct Library {
  std::mutex mutex;
  std::unique_ptr<BlockingClient> server;  // set between PMI_Init and PMI_Finalize
};

// Never destroyed, because other threads and exit handlers may call it until the process ends.
Library& library();

void complain(const char* what);  // one line on stderr

// Calls `function(library)` with the lock. Returns PMI_FAIL if it throws.
template <typename Function>
int locked(Function function) noexcept {
  try {
    Library& state = library();
    const std::lock_guard lock(state.mutex);
    return function(state);
  } catch (const std::exception& error) {
    complain(error.what());
    return PMI_FAIL;
  }
}

// Calls `function(server)` with the lock. Returns PMI_ERR_INIT if there is no server.
template <typename Function>
int with_server(Function function) noexcept {
  return locked([&](Library& state) { return state.server ? function(*state.server) : PMI_ERR_INIT; });
}

// Appends an array of pairs (of PMI-1 or PMI-2) to a list. Returns false if a pointer is null.
template <typename Pair>
bool to_pairs(const Pair* pairs, int count, engine::KeyValues& list) {
  if (count > 0 && pairs == nullptr) return false;
  for (int i = 0; i < count; ++i) {
    if (pairs[i].key == nullptr || pairs[i].val == nullptr) return false;
    list.emplace_back(pairs[i].key, pairs[i].val);
  }
  return true;
}

}  // namespace wireup::libpmi
