// What takes assembly: system calls that do not use errno, clone3(2), for which the C library has no
// function, and the question whether valgrind runs this program.
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
#include <cstddef>
#include <cstdint>
#include <type_traits>

// For functions that run in a child that shares its parent's memory. The sanitizers record a thread's calls
// and stack. A function that never returns would corrupt the record.
#define WIREUP_IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread")))

namespace wireup::os {

// The first fields of clone_args of linux/sched.h, which conflicts with the headers of some C libraries.
struct CloneArguments {
  std::uint64_t flags;
  std::uint64_t pidfd;
  std::uint64_t child_tid;
  std::uint64_t parent_tid;
  std::uint64_t exit_signal;
  std::uint64_t stack;
  std::uint64_t stack_size;
  std::uint64_t tls;
  std::uint64_t set_tid;
  std::uint64_t set_tid_size;
  std::uint64_t cgroup;
};

inline constexpr long kSysClone3 = 435;  // on all processors but alpha

// Starts a child that runs `function` on the stack of the arguments and exits with its result. Returns the
// child's pid, or the negative error number.
long clone3(const CloneArguments& arguments, int (*function)(void*), void* argument);

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

inline long clone3(const CloneArguments& arguments, int (*function)(void*), void* argument) {
  long result;
  register void* r8 __asm__("r8") = argument;
  // 60 is exit(2). The processor's stack must be aligned to 16 bytes before a call.
  __asm__ volatile(
      "syscall\n\t"
      "testq %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xorl %%ebp, %%ebp\n\t"
      "movq %%r8, %%rdi\n\t"
      "callq *%%rdx\n\t"
      "movl %%eax, %%edi\n\t"
      "movl $60, %%eax\n\t"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "a"(kSysClone3), "D"(&arguments), "S"(sizeof arguments), "d"(function), "r"(r8)
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

inline long clone3(const CloneArguments& arguments, int (*function)(void*), void* argument) {
  register long x8 __asm__("x8") = kSysClone3;
  register long x0 __asm__("x0") = reinterpret_cast<long>(&arguments);
  register long x1 __asm__("x1") = sizeof arguments;
  register int (*x2)(void*) __asm__("x2") = function;
  register void* x3 __asm__("x3") = argument;
  // 93 is exit(2).
  __asm__ volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, #0\n\t"
      "mov x0, x3\n\t"
      "blr x2\n\t"
      "mov x8, #93\n\t"
      "svc #0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
      : "cc", "memory");
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

inline long clone3(const CloneArguments&, int (*)(void*), void*) { return -ENOSYS; }

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
