// Injects faults into code under test: the n-th memory allocation fails with std::bad_alloc, or the n-th
// system call fails with an errno that is usual for it. for_each_fault() runs a scenario for n = 1, 2, ...
// until a run in which the scenario has fewer than n of them. (SQLite tests its handling of exhausted memory
// in the same way.)
//
// faults.cpp replaces the global operator new. The linker redirects the system calls (-Wl,--wrap=) that the
// libraries under test make; calls inside the C library and the sanitizers are not redirected.
#pragma once

#include <cstdint>
#include <functional>

namespace wireup::test {

enum class FaultKind : std::uint8_t { allocation, system_call };
// Which threads have the fault: the one that injects it, or all others.
enum class FaultThread : std::uint8_t { own, other };
enum class FaultLength : std::uint8_t { once, from_then_on };

struct FaultPlan {
  FaultKind kind = FaultKind::allocation;
  FaultThread thread = FaultThread::other;
  FaultLength length = FaultLength::once;
};

// The fault is armed while the object exists. One exists at a time.
class Fault {
 public:
  Fault(FaultPlan plan, std::uint64_t nth);
  ~Fault();
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

  // Whether the scenario has come to the n-th allocation or system call.
  bool hit() const;
  // The name of the system call that failed first; "operator new" for an allocation.
  static const char* name();
};

// Runs the scenario, which arms a Fault(plan, n) and returns its hit(), for n = 1, 1 + step, ... until it
// returns false. Returns how many faults the scenario has at least.
std::uint64_t for_each_fault(const std::function<bool(std::uint64_t nth)>& scenario, std::uint64_t step = 1);

}  // namespace wireup::test
