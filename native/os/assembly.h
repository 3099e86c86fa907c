// What takes assembly: system calls that do not use errno, and the question whether valgrind runs this
// program.
//
// The C library stores the error number of a system call in errno, a variable of the thread. A child that
// shares its parent's memory also has the thread pointer of its parent, and so the same errno. If both run at
// the same time, each overwrites the other's. These calls return the error number instead.
//
// Threads: any.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>

// For functions that run in a child that shares its parent's memory. The sanitizers record a thread's calls
// and stack. A function that never returns would corrupt the record.
#define WIREUP_IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread")))

namespace wireup::os {

WIREUP_IN_CHILD inline long system_call_of_words(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                                 long e = 0);

#if defined(__x86_64__) && defined(__LP64__)

inline constexpr bool kHasAssembly = true;

WIREUP_IN_CHILD inline long system_call_of_words(long number, long a, long b, long c, long d, long e) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "cc", "memory");
  return result;
}

inline unsigned long valgrind_request(const unsigned long* request) {
  unsigned long result;
  __asm__ volatile(
      "rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi\n\t"
      "xchgq %%rbx, %%rbx"
      : "=d"(result)
      : "a"(request), "0"(0UL)
      : "cc", "memory");
  return result;
}

#elif defined(__aarch64__) && defined(__LP64__)

inline constexpr bool kHasAssembly = true;

WIREUP_IN_CHILD inline long system_call_of_words(long number, long a, long b, long c, long d, long e) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "cc", "memory");
  return x0;
}

inline unsigned long valgrind_request(const unsigned long* request) {
  register unsigned long x3 __asm__("x3") = 0;
  register const unsigned long* x4 __asm__("x4") = request;
  __asm__ volatile(
      "ror x12, x12, #3; ror x12, x12, #13; ror x12, x12, #51; ror x12, x12, #61\n\t"
      "orr x10, x10, x10"
      : "+r"(x3)
      : "r"(x4)
      : "cc", "memory");
  return x3;
}

#else

// Here the calls use errno.
inline constexpr bool kHasAssembly = false;

WIREUP_IN_CHILD inline long system_call_of_words(long number, long a, long b, long c, long d, long e) {
  const long result = ::syscall(number, a, b, c, d, e);
  return result < 0 ? -errno : result;
}

inline unsigned long valgrind_request(const unsigned long*) { return 0; }

#endif

template <typename Argument>
WIREUP_IN_CHILD long system_call_word(Argument argument) {
  if constexpr (std::is_pointer_v<Argument> || std::is_null_pointer_v<Argument>) {
    return reinterpret_cast<long>(argument);
  } else {
    return static_cast<long>(argument);
  }
}

// Up to five arguments: integers and pointers. Returns the result, or the negative error number.
template <typename... Arguments>
WIREUP_IN_CHILD long system_call(long number, Arguments... arguments) {
  return system_call_of_words(number, system_call_word(arguments)...);
}

// The number and the instructions are those of RUNNING_ON_VALGRIND in valgrind.h, which few systems have. A
// processor rotates a register until it has its old value. valgrind recognizes the sequence.
inline bool runs_on_valgrind() {
  const unsigned long request[6] = {0x1001};
  return valgrind_request(request) != 0;
}

}  // namespace wireup::os
