// The memory that the conductor shares with the ranks of a run, under any launcher. It contains the requests,
// two gates, and the times that each rank records. A rank finds it by an environment variable.
//
// At the first gate the ranks wait until all have arrived and the conductor has read the launcher's usage; at
// the second until all have finished the timed part. Waiting takes no processor time, except that each rank
// checks from time to time whether the conductor still exists.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdlib>

#include "tools/bench/script.h"

namespace wireup::bench {

inline constexpr const char* kTableVariable = "WIREUP_BENCH_TABLE";

inline std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Waits until it is woken, until the word is not `seen`, or for `milliseconds`.
inline void wait_on(std::atomic<std::uint32_t>& word, std::uint32_t seen, long milliseconds) {
  const timespec limit{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

inline void wake_all(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

struct Gate {
  std::atomic<std::uint32_t> arrived;
  std::atomic<std::uint32_t> open;
};

struct alignas(std::int64_t) Table {
  Script script;
  std::int32_t conductor;
  std::atomic<std::uint32_t> taken;  // number of slots in use
  Gate gates[2];

  static std::size_t bytes(const Script& script) {
    return sizeof(Table) + script.size * slot_words(script) * sizeof(std::int64_t);
  }

  // A slot contains the process id, then the times.
  std::int64_t* slot(std::uint32_t number) {
    return reinterpret_cast<std::int64_t*>(this + 1) + number * slot_words(script);
  }

  // Takes `count` consecutive slots for this process. Returns the first.
  std::uint32_t take(std::uint32_t count) {
    const std::uint32_t first = taken.fetch_add(count);
    if (first + count > script.size) std::_Exit(3);  // more ranks than were asked for
    for (std::uint32_t i = 0; i < count; ++i) slot(first + i)[0] = ::getpid();
    return first;
  }

  // Waits at the gate, for `count` ranks of this process. Ends the process if the conductor has gone.
  void pass(Gate& gate, std::uint32_t count) {
    constexpr long kLookMs = 5000;
    if (gate.arrived.fetch_add(count) + count == script.size) wake_all(gate.arrived);
    while (gate.open.load() == 0) {
      wait_on(gate.open, 0, kLookMs);
      if (gate.open.load() == 0 && ::kill(conductor, 0) < 0 && errno == ESRCH) std::_Exit(4);
    }
  }

  // The table of the conductor that has started this process; null without one.
  static Table* inherited() {
    const char* path = std::getenv(kTableVariable);
    if (path == nullptr) return nullptr;
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) < 0) return nullptr;
    void* memory =
        ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    return memory == MAP_FAILED ? nullptr : static_cast<Table*>(memory);
  }

 private:
  static std::size_t slot_words(const Script& script) { return 1 + script.marks(); }
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace wireup::bench
