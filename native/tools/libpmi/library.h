// What a process has of libpmi: one server, one lock, and the line between C++ and C, which no exception
// crosses.
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
  std::unique_ptr<BlockingClient> server;  // between PMI_Init and PMI_Finalize
};

// Never destroyed: other threads, and exit handlers, may call to the very end.
Library& library();

void complain(const char* what);  // one line on stderr

// `function(library)` under the lock; PMI_FAIL where it throws.
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

// The same with the server; PMI_ERR_INIT where there is none.
template <typename Function>
int with_server(Function function) noexcept {
  return locked([&](Library& state) { return state.server ? function(*state.server) : PMI_ERR_INIT; });
}

// Adds an array of pairs, of either API, to a list. False: one of them is missing.
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
